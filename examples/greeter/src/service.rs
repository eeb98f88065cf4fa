//! What the service does.

use gannet::auth::Claims;
use gannet::{Call, Inbound, Outbound, Result, Status};

use crate::proto::greeter::{GreetRequest, Greeter, Greeting};

/// Greets in the name of a replica.
pub(crate) struct Host {
    pub(crate) replica: String,
}

impl Host {
    fn greeting(&self, caller: &str, request: &GreetRequest) -> Result<Greeting> {
        if request.name.is_empty() {
            return Err(Status::invalid_argument("name: it is empty; whom shall I greet?"));
        }
        Ok(Greeting {
            text: format!("Hello, {}!", request.name),
            replica: self.replica.clone(),
            caller: caller.to_owned(),
            ..Default::default()
        })
    }
}

impl Greeter for Host {
    async fn greet(&self, call: &mut Call, request: GreetRequest) -> Result<Greeting> {
        self.greeting(&caller(call), &request)
    }

    async fn greet_all(
        &self,
        call: &mut Call,
        mut requests: Inbound<GreetRequest>,
        mut greetings: Outbound<Greeting>,
    ) -> Result<()> {
        let caller = caller(call);
        while let Some(request) = requests.next().await? {
            greetings.send(self.greeting(&caller, &request)?).await?;
        }
        Ok(())
    }
}

/// The subject of the caller's token. No call gets here without one that is good: the server's
/// interceptor sees to that.
fn caller(call: &Call) -> String {
    let claims = call.extensions().get::<Claims>();
    claims.and_then(Claims::subject).unwrap_or("nobody").to_owned()
}

#[cfg(test)]
mod tests {
    use gannet::Code;
    use gannet::codec::Buffa;
    use gannet_testing::{TestCall, inbound, replies};

    use super::*;

    fn host() -> Host {
        Host { replica: "one".to_owned() }
    }

    fn request(name: &str) -> GreetRequest {
        GreetRequest { name: name.to_owned(), ..Default::default() }
    }

    #[tokio::test]
    async fn greets_who_is_named() {
        let mut call = TestCall::new();
        let greeting = host().greet(&mut call, request("Ada")).await.unwrap();
        assert_eq!((&*greeting.text, &*greeting.replica), ("Hello, Ada!", "one"));
        assert_eq!(greeting.caller, "nobody", "there is no interceptor here");
        let status = host().greet(&mut call, request("")).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
    }

    #[tokio::test]
    async fn greets_as_they_come_until_one_has_no_name() {
        let requests = inbound::<Buffa, _>(["Ada", "Ben", ""].map(request));
        let (greetings, mut greeted) = replies::<Buffa, _>();
        let (host, mut call) = (host(), TestCall::new());
        let (status, told) = tokio::join!(host.greet_all(&mut call, requests, greetings), async {
            let mut told = Vec::new();
            while let Ok(Some(greeting)) = greeted.next().await {
                told.push(greeting.text);
            }
            told
        });
        assert_eq!(status.unwrap_err().code(), Code::InvalidArgument);
        assert_eq!(told, ["Hello, Ada!", "Hello, Ben!"]);
    }
}
