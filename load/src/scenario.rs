//! The benchmark's scenarios: what is called, and what must come back.

use std::fmt;
use std::io;
use std::str::FromStr;

use crate::message;
use crate::script::Plan;

/// What a run does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// The hello call.
    Unary,
    /// `bench.Echo/Unary` with a payload.
    Echo,
    /// `bench.Echo/ServerStream`: each call gets so many messages.
    ServerStream,
    /// `bench.Echo/BidiStream`: each call sends so many messages, and gets them back as it goes.
    Bidi,
    /// As `Bidi`, with large messages.
    LargeStream,
    /// One hello call on each connection, which then stays open.
    Idle,
    /// `bench.Echo/BidiStream`: one message there and back on each stream, which then stays open.
    OpenStreams,
    /// POST /hello over HTTP/1.1, on connections that are kept.
    Rest,
    /// POST /hello over HTTP/1.1, each on a connection of its own.
    RestConnect,
}

const NAMES: [(&str, Scenario); 9] = [
    ("unary", Scenario::Unary),
    ("echo", Scenario::Echo),
    ("server-stream", Scenario::ServerStream),
    ("bidi", Scenario::Bidi),
    ("large-stream", Scenario::LargeStream),
    ("idle", Scenario::Idle),
    ("open-streams", Scenario::OpenStreams),
    ("rest", Scenario::Rest),
    ("rest-connect", Scenario::RestConnect),
];

impl FromStr for Scenario {
    type Err = String;

    fn from_str(name: &str) -> Result<Scenario, String> {
        let known = NAMES.iter().find(|(known, _)| *known == name).map(|(_, scenario)| *scenario);
        known.ok_or_else(|| {
            let names: Vec<_> = NAMES.iter().map(|(name, _)| *name).collect();
            format!("one of {}", names.join(", "))
        })
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = NAMES.iter().find(|(_, scenario)| scenario == self).map_or("", |(name, _)| name);
        f.write_str(name)
    }
}

/// What may be chosen about messages; each scenario has its own ordinary values.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sizes {
    /// A payload's bytes.
    pub bytes: Option<u32>,
    /// Messages of a stream, at least 1.
    pub messages: Option<u32>,
    /// Messages of a stream that may be without their echo before the next one waits, at least 1.
    pub outstanding: Option<u32>,
}

const SMALL_BYTES: u32 = 16;
const LARGE_BYTES: u32 = 1 << 20;

impl Scenario {
    /// Whether it opens everything and then waits.
    #[must_use]
    pub fn holds(self) -> bool {
        matches!(self, Scenario::Idle | Scenario::OpenStreams)
    }

    /// What each call does; REST has no plan.
    pub(crate) fn plan(self, sizes: Sizes) -> io::Result<Option<Plan>> {
        let large = matches!(self, Scenario::Echo | Scenario::LargeStream);
        let bytes = sizes.bytes.unwrap_or(if large { LARGE_BYTES } else { SMALL_BYTES });
        let messages = sizes.messages.unwrap_or(if large { 16 } else { 1000 });
        let outstanding = sizes.outstanding.unwrap_or(if large { 4 } else { 32 });
        if messages == 0 || outstanding == 0 {
            return Err(io::Error::other("a stream has at least one message, and one outstanding"));
        }
        let payload = message::bytes_field(&vec![b'x'; bytes as usize]);
        let bidi = |requests, holds| Plan {
            path: "/bench.Echo/BidiStream".to_owned(),
            request: payload.clone(),
            requests,
            outstanding,
            reply: payload.clone(),
            replies: requests,
            holds,
        };
        Ok(match self {
            Scenario::Unary | Scenario::Idle => Some(hello()),
            Scenario::Echo => {
                Some(Plan::unary("/bench.Echo/Unary", payload.clone(), payload.clone()))
            }
            Scenario::ServerStream => {
                let mut want = Vec::new();
                message::number_field(1, messages.into(), &mut want);
                message::number_field(2, bytes.into(), &mut want);
                let plan = Plan::unary("/bench.Echo/ServerStream", want, payload);
                Some(Plan { replies: messages, ..plan })
            }
            Scenario::Bidi | Scenario::LargeStream => Some(bidi(messages, false)),
            Scenario::OpenStreams => Some(bidi(1, true)),
            Scenario::Rest | Scenario::RestConnect => None,
        })
    }
}

impl Plan {
    /// One message there, one back.
    pub(crate) fn unary(path: &str, request: Vec<u8>, reply: Vec<u8>) -> Plan {
        let path = path.to_owned();
        Plan { path, request, requests: 1, outstanding: 1, reply, replies: 1, holds: false }
    }
}

fn hello() -> Plan {
    Plan::unary(
        "/grpctest.Grpctest/GetServerResponse",
        message::bytes_field(b"hello"),
        hello_reply("hello"),
    )
}

/// The reply to the hello call with this message.
pub(crate) fn hello_reply(text: &str) -> Vec<u8> {
    let said = format!("Hello I am up and running received \"{text}\" message from you");
    let mut reply = message::bytes_field(said.as_bytes());
    message::number_field(2, 1, &mut reply);
    reply
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back_to_their_scenarios() {
        for (name, scenario) in NAMES {
            assert_eq!(name.parse(), Ok(scenario));
            assert_eq!(scenario.to_string(), name);
        }
        assert!("walk".parse::<Scenario>().unwrap_err().contains("rest-connect"));
    }

    #[test]
    fn streams_have_messages() {
        let none = Sizes { messages: Some(0), ..Sizes::default() };
        assert!(Scenario::Bidi.plan(none).is_err());
        let plan = Scenario::ServerStream.plan(Sizes::default()).unwrap().unwrap();
        assert_eq!((plan.requests, plan.replies), (1, 1000));
        assert_eq!(plan.request, [0x08, 0xe8, 0x07, 0x10, 0x10]);
        assert!(Scenario::Rest.plan(Sizes::default()).unwrap().is_none());
    }
}
