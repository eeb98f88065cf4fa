//! Certificates as DER, whole, broken or no certificates at all: names that were put into a good
//! one are read, and of any other nothing that is not in its bytes.
#![no_main]

use std::net::IpAddr;

use arbitrary::Arbitrary;
use gannet_transport::tls::PeerCertificate;
use libfuzzer_sys::fuzz_target;

#[derive(Debug, Arbitrary)]
struct Input {
    certificate: Certificate,
    changes: Vec<Change>,
}

#[derive(Debug, Arbitrary)]
enum Certificate {
    Any(Vec<u8>),
    Made { subject: Vec<Attribute>, extensions: Vec<Extension>, old: bool },
}

/// Of the subject, with the tag of its value.
#[derive(Debug, Arbitrary)]
struct Attribute {
    is_common_name: bool,
    tag: u8,
    value: Vec<u8>,
}

impl Attribute {
    /// One byte: a long tag is another thing.
    fn tag(&self) -> u8 {
        if self.tag & 0x1f == 0x1f { 0x0c } else { self.tag }
    }
}

#[derive(Debug, Arbitrary)]
enum Extension {
    AlternativeNames { critical: Option<bool>, names: Vec<Name> },
    Other(Vec<u8>),
}

#[derive(Debug, Arbitrary)]
enum Name {
    Email(String),
    Dns(String),
    Uri(String),
    V4([u8; 4]),
    V6([u8; 16]),
    Any(u8, Vec<u8>),
}

impl Name {
    /// The text, where it is a name of this kind that can be shown.
    fn text(&self, tag: u8) -> Option<&str> {
        let text = match self {
            Name::Email(text) if tag == 0x81 => text,
            Name::Dns(text) if tag == 0x82 => text,
            Name::Uri(text) if tag == 0x86 => text,
            Name::Any(own, bytes) if *own == tag => std::str::from_utf8(bytes).ok()?,
            _ => return None,
        };
        let is_shown = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        is_shown.then_some(text)
    }
}

#[derive(Debug, Arbitrary)]
enum Change {
    Byte { at: u16, to: u8 },
    Cut(u16),
    Insert { at: u16, byte: u8 },
}

fuzz_target!(|input: Input| {
    let mut der = match &input.certificate {
        Certificate::Any(bytes) => bytes.clone(),
        Certificate::Made { subject, extensions, old } => {
            let Some(der) = made(subject, extensions, *old) else { return };
            check_made(&PeerCertificate::unjudged(&der), subject, extensions);
            der
        }
    };
    input.changes.iter().for_each(|change| apply(change, &mut der));
    check_any(&PeerCertificate::unjudged(&der), &der);
});

/// What was put in is read, in its order.
fn check_made(read: &PeerCertificate, subject: &[Attribute], extensions: &[Extension]) {
    let names = || {
        extensions.iter().flat_map(|extension| match extension {
            Extension::AlternativeNames { names, .. } => &names[..],
            Extension::Other(_) => &[],
        })
    };
    let text = |tag: u8| names().filter_map(move |name| name.text(tag));
    assert!(text(0x81).eq(read.emails()), "{read:?}");
    assert!(text(0x82).eq(read.dns_names()), "{read:?}");
    assert!(text(0x86).eq(read.uris()), "{read:?}");
    let addresses = names().filter_map(|name| match name {
        Name::V4(octets) => Some(IpAddr::from(*octets)),
        Name::V6(octets) => Some(IpAddr::from(*octets)),
        Name::Any(0x87, bytes) => address(bytes),
        _ => None,
    });
    assert!(addresses.eq(read.ip_addresses().iter().copied()), "{read:?}");
    let common_name = subject.iter().find(|attribute| attribute.is_common_name);
    let is_text = |attribute: &&Attribute| matches!(attribute.tag(), 0x0c | 0x13 | 0x16);
    let common_name = common_name.filter(is_text);
    let common_name = common_name.and_then(|found| std::str::from_utf8(&found.value).ok());
    assert_eq!(read.common_name(), common_name);
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v6 = || <[u8; 16]>::try_from(bytes).map(IpAddr::from);
    <[u8; 4]>::try_from(bytes).map(IpAddr::from).or_else(|_| v6()).ok()
}

/// Nothing is made up, and nothing is read twice.
fn check_any(read: &PeerCertificate, der: &[u8]) {
    let lists = [read.dns_names(), read.uris(), read.emails()];
    let mut held = 0;
    for name in lists.into_iter().flatten() {
        assert!(!name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic()), "{name:?}");
        held += name.len();
    }
    for text in lists.into_iter().flatten().map(String::as_str).chain(read.common_name()) {
        let is_there = text.is_empty() || der.windows(text.len()).any(|w| w == text.as_bytes());
        assert!(is_there, "{text:?}");
    }
    held += 4 * read.ip_addresses().len() + read.common_name().map_or(0, str::len);
    assert!(held <= der.len(), "{held} bytes of names in {}", der.len());
    assert_eq!(read.spiffe_id().is_some(), read.uris().len() == 1 && is_spiffe(&read.uris()[0]));
    assert!(read.chain().eq([der]));
}

fn is_spiffe(uri: &str) -> bool {
    uri.strip_prefix("spiffe:").is_some_and(|rest| rest.starts_with("//"))
}

fn apply(change: &Change, der: &mut Vec<u8>) {
    let place = |at: u16| usize::from(at) % (der.len() + 1);
    match *change {
        Change::Byte { at, to } => {
            let at = place(at);
            if let Some(byte) = der.get_mut(at) {
                *byte = to;
            }
        }
        Change::Cut(at) => der.truncate(place(at)),
        Change::Insert { at, byte } => der.insert(place(at), byte),
    }
}

/// RFC 5280 section 4.1; `None` where it would be too long for two bytes of length.
fn made(subject: &[Attribute], extensions: &[Extension], old: bool) -> Option<Vec<u8>> {
    let sequence = |content: &[u8]| element(0x30, content);
    let mut names = Vec::new();
    for attribute in subject {
        // 2.5.4.3, 2.5.4.10
        let kind = element(6, &[0x55, 4, if attribute.is_common_name { 3 } else { 10 }])?;
        let value = element(attribute.tag(), &attribute.value)?;
        let attribute = sequence(&[kind, value].concat())?;
        names.push(element(0x31, &attribute)?);
    }
    let mut more = Vec::new();
    for extension in extensions {
        more.push(extension_of(extension)?);
    }
    let version = if old { Vec::new() } else { element(0xa0, &[2, 1, 2])? };
    let parts = [
        version,
        element(2, &[1])?,
        sequence(b"")?,
        sequence(b"")?,
        sequence(b"")?,
        sequence(&names.concat())?,
        sequence(b"")?,
        element(0xa3, &sequence(&more.concat())?)?,
    ];
    let inner = sequence(&parts.concat())?;
    sequence(&[inner, sequence(b"")?, element(3, b"")?].concat())
}

fn extension_of(extension: &Extension) -> Option<Vec<u8>> {
    let (id, critical, value) = match extension {
        Extension::AlternativeNames { critical, names } => {
            let mut all = Vec::new();
            for name in names {
                all.extend(general_name(name)?);
            }
            (17, *critical, element(0x30, &all)?)
        }
        Extension::Other(value) => (19, None, value.clone()),
    };
    let critical = critical.map(|yes| element(1, &[if yes { 0xff } else { 0 }]));
    let critical = critical.map_or(Some(Vec::new()), |element| element)?;
    let parts = [element(6, &[0x55, 0x1d, id])?, critical, element(4, &value)?];
    element(0x30, &parts.concat())
}

fn general_name(name: &Name) -> Option<Vec<u8>> {
    match name {
        Name::Email(text) => element(0x81, text.as_bytes()),
        Name::Dns(text) => element(0x82, text.as_bytes()),
        Name::Uri(text) => element(0x86, text.as_bytes()),
        Name::V4(octets) => element(0x87, octets),
        Name::V6(octets) => element(0x87, octets),
        Name::Any(tag, content) => element(if tag & 0x1f == 0x1f { 0x80 } else { *tag }, content),
    }
}

fn element(tag: u8, content: &[u8]) -> Option<Vec<u8>> {
    let [high, low] = u16::try_from(content.len()).ok()?.to_be_bytes();
    let head = match (high, low) {
        (0, 0..=0x7f) => vec![tag, low],
        (0, _) => vec![tag, 0x81, low],
        _ => vec![tag, 0x82, high, low],
    };
    Some([&head, content].concat())
}
