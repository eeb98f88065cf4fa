//! The `content-type` of gRPC messages (PROTOCOL-HTTP2, "Content-Type").
//!
//! Only tells gRPC from what is not; which codecs exist is not known here. gRPC-Web's
//! `application/grpc-web` is a different protocol and not matched.

/// What every gRPC content type starts with.
pub const GRPC: &str = "application/grpc";

/// The sub-type of a gRPC content type: `""` for `application/grpc`, `"proto"` for
/// `application/grpc+proto`; `None` where the value is no gRPC content type.
///
/// Letter case and parameters after `;` are ignored; the sub-type is returned as it came.
pub fn grpc_subtype(value: &[u8]) -> Option<&[u8]> {
    let (head, rest) = value.split_at_checked(GRPC.len())?;
    if !head.eq_ignore_ascii_case(GRPC.as_bytes()) {
        return None;
    }
    match rest.first() {
        None | Some(b';' | b' ') => Some(b""),
        Some(b'+') => {
            let end = rest.iter().position(|&byte| byte == b';').unwrap_or(rest.len());
            Some(rest[1..end].trim_ascii())
        }
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_grpc_from_the_rest() {
        let table: &[(&str, Option<&str>)] = &[
            ("application/grpc", Some("")),
            ("application/grpc+proto", Some("proto")),
            ("application/grpc+json; charset=utf-8", Some("json")),
            ("application/grpc; x=y", Some("")),
            ("application/grpc;x=y", Some("")),
            ("Application/GRPC+Proto", Some("Proto")),
            ("application/grpc+", Some("")),
            ("application/grpc-web", None),
            ("application/grpc-web+proto", None),
            ("application/grpcx", None),
            ("application/json", None),
            ("application/grp", None),
            ("", None),
        ];
        for &(value, subtype) in table {
            assert_eq!(grpc_subtype(value.as_bytes()), subtype.map(str::as_bytes), "{value}");
        }
    }
}
