//! The names in a certificate (RFC 5280 sections 4.1, 4.1.2.6 and 4.2.1.6), read from its DER.
//!
//! Judges nothing: that the certificate is good was found before. Reads past everything but the
//! subject and the subject alternative names, so that a parser of all of X.509 is not needed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::PeerCertificate;

/// id-at-commonName, 2.5.4.3.
const COMMON_NAME: &[u8] = &[0x55, 4, 3];
/// id-ce-subjectAltName, 2.5.29.17.
const SUBJECT_ALTERNATIVE_NAME: &[u8] = &[0x55, 0x1d, 17];

const BOOLEAN: u8 = 0x01;
const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const OBJECT_IDENTIFIER: u8 = 0x06;
const UTF8_STRING: u8 = 0x0c;
const PRINTABLE_STRING: u8 = 0x13;
const IA5_STRING: u8 = 0x16;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
/// The certificate's version, and its extensions.
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
/// Kinds of a GeneralName.
const EMAIL: u8 = 0x81;
const DNS_NAME: u8 = 0x82;
const URI: u8 = 0x86;
const IP_ADDRESS: u8 = 0x87;

/// Reads the names of `certificate` into `names`; `None` where it is no certificate.
pub(super) fn read(certificate: &[u8], names: &mut PeerCertificate) -> Option<()> {
    let mut whole = Der(certificate);
    let mut outer = Der(whole.expect(SEQUENCE)?);
    let mut inner = Der(outer.expect(SEQUENCE)?);
    inner.accept(VERSION);
    inner.expect(INTEGER)?; // serial number
    inner.expect(SEQUENCE)?; // signature's algorithm
    inner.expect(SEQUENCE)?; // issuer
    inner.expect(SEQUENCE)?; // validity
    names.common_name = common_name(inner.expect(SEQUENCE)?);
    inner.expect(SEQUENCE)?; // public key
    while let Some((tag, content)) = inner.next() {
        if tag == EXTENSIONS {
            let mut extensions = Der(Der(content).expect(SEQUENCE)?);
            while let Some(extension) = extensions.accept(SEQUENCE) {
                read_extension(extension, names)?;
            }
        }
    }
    Some(())
}

fn read_extension(extension: &[u8], names: &mut PeerCertificate) -> Option<()> {
    let mut extension = Der(extension);
    if extension.expect(OBJECT_IDENTIFIER)? != SUBJECT_ALTERNATIVE_NAME {
        return Some(());
    }
    extension.accept(BOOLEAN); // whether it is critical
    let mut general_names = Der(Der(extension.expect(OCTET_STRING)?).expect(SEQUENCE)?);
    while let Some((tag, content)) = general_names.next() {
        match tag {
            EMAIL => names.emails.extend(visible_ascii(content)),
            DNS_NAME => names.dns_names.extend(visible_ascii(content)),
            URI => names.uris.extend(visible_ascii(content)),
            IP_ADDRESS => names.ip_addresses.extend(ip_address(content)),
            _ => {}
        }
    }
    Some(())
}

fn common_name(subject: &[u8]) -> Option<String> {
    let mut relative_names = Der(subject);
    while let Some(set) = relative_names.accept(SET) {
        let mut attributes = Der(set);
        while let Some(attribute) = attributes.accept(SEQUENCE) {
            let mut attribute = Der(attribute);
            if attribute.expect(OBJECT_IDENTIFIER)? == COMMON_NAME {
                let (tag, value) = attribute.next()?;
                let is_text = matches!(tag, UTF8_STRING | PRINTABLE_STRING | IA5_STRING);
                return String::from_utf8(value.to_owned()).ok().filter(|_| is_text);
            }
        }
    }
    None
}

fn visible_ascii(content: &[u8]) -> Option<String> {
    let is_visible = content.iter().all(u8::is_ascii_graphic);
    String::from_utf8(content.to_owned()).ok().filter(|_| is_visible && !content.is_empty())
}

fn ip_address(content: &[u8]) -> Option<IpAddr> {
    if let Ok(octets) = <[u8; 4]>::try_from(content) {
        return Some(Ipv4Addr::from(octets).into());
    }
    <[u8; 16]>::try_from(content).ok().map(|octets| Ipv6Addr::from(octets).into())
}

/// Elements of DER, one behind the other (X.690 sections 8.1 and 10.1).
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The next element's tag and content; `None` at the end, and where there is none that is
    /// whole, of a definite length, with a short tag.
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let [tag, length, rest @ ..] = self.0 else { return None };
        if tag & 0x1f == 0x1f {
            return None;
        }
        let (length, rest) = match *length {
            length @ ..=0x7f => (usize::from(length), rest),
            // Nothing in a certificate is longer than 64 KiB.
            0x81 => (usize::from(*rest.first()?), &rest[1..]),
            0x82 => {
                let (length, rest) = rest.split_first_chunk()?;
                (usize::from(u16::from_be_bytes(*length)), rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((*tag, content))
    }

    /// The content of the next element, which must have this tag.
    fn expect(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next().filter(|(found, _)| *found == tag).map(|(_, content)| content)
    }

    /// The same, but where it has another tag it stays.
    fn accept(&mut self, tag: u8) -> Option<&'a [u8]> {
        if self.0.first() == Some(&tag) { self.expect(tag) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::*;

    fn made(sans: Vec<SanType>, common_name: &str) -> Vec<u8> {
        let mut params = CertificateParams::new([]).unwrap();
        params.subject_alt_names = sans;
        params.distinguished_name.push(DnType::OrganizationName, "Org");
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    fn read_names(der: &[u8]) -> PeerCertificate {
        PeerCertificate::new(vec![der.into()])
    }

    #[test]
    fn all_kinds_of_names_are_read() {
        let text = |text: &str| text.to_owned().try_into().unwrap();
        let (v4, v6) = ("127.0.0.1".parse().unwrap(), "::1".parse().unwrap());
        let der = made(
            vec![
                SanType::DnsName(text("svc.example")),
                SanType::URI(text("spiffe://example/ns/a")),
                SanType::Rfc822Name(text("a@svc.example")),
                SanType::DnsName(text("*.svc.example")),
                SanType::IpAddress(v4),
                SanType::IpAddress(v6),
            ],
            "Söhne",
        );
        let names = read_names(&der);
        assert_eq!(names.dns_names(), ["svc.example", "*.svc.example"]);
        assert_eq!(names.uris(), ["spiffe://example/ns/a"]);
        assert_eq!(names.spiffe_id(), Some("spiffe://example/ns/a"));
        assert_eq!(names.emails(), ["a@svc.example"]);
        assert_eq!(names.ip_addresses(), [v4, v6]);
        assert_eq!(names.common_name(), Some("Söhne"));
        assert_eq!(names.chain().next(), Some(&*der));
    }

    #[test]
    fn a_certificate_may_have_no_names_and_several_uris_are_no_spiffe_id() {
        let names = read_names(&made(vec![], "plain"));
        assert_eq!((names.dns_names().len(), names.common_name()), (0, Some("plain")));
        let uri = |n| SanType::URI(format!("spiffe://example/{n}").try_into().unwrap());
        let names = read_names(&made(vec![uri(1), uri(2)], "two"));
        assert_eq!((names.uris().len(), names.spiffe_id()), (2, None));
    }

    /// Whatever is cut off or changed: no panic, and nothing that was not there.
    #[test]
    fn broken_certificates_are_read_as_far_as_they_go() {
        let dns = SanType::DnsName("svc.example".to_owned().try_into().unwrap());
        let der = made(vec![dns], "x");
        for end in 0..der.len() {
            assert_eq!(read(&der[..end], &mut PeerCertificate::default()), None, "{end}");
        }
        for at in 0..der.len() {
            for bit in 0..8 {
                let mut changed = der.clone();
                changed[at] ^= 1 << bit;
                let names = read_names(&changed);
                let is_sane = |name: &String| name.bytes().all(|byte| byte.is_ascii_graphic());
                assert!(names.dns_names().iter().all(is_sane), "{at} {bit}");
            }
        }
    }
}
