//! TLS in process: who is who.

use gannet_core::Code;
use gannet_core::codec::Raw;
use gannet_server::{Incoming, Next, Server};
use gannet_testing::example::{ECHO, Echo};
use gannet_testing::{Authority, InProcess};

#[tokio::test(start_paused = true)]
async fn a_client_is_known_by_the_names_of_its_certificate() {
    let authority = Authority::new();
    let server = Server::new().add(Echo).intercept(|mut call: Incoming, next: Next| async move {
        let certificate = call.peer().certificate();
        let shown = certificate.map(|it| {
            let id = it.spiffe_id().unwrap_or("no ID");
            format!("{id} {:?} {:?} {}", it.dns_names(), it.ip_addresses(), it.leaf().len() > 100)
        });
        call.trailers_mut().insert("x-who", shown.unwrap_or_default())?;
        next.run(call).await
    });
    let server = InProcess::serve_tls(server, authority.mutual_tls("localhost"));
    let id = "spiffe://example/ns/test";
    let tls = authority.client_tls_as(&["client.example", id, "127.0.0.1"]);
    let channel = server.builder().tls(tls).build().unwrap();
    let call = channel.unary::<Raw, Vec<u8>, Vec<u8>>(&ECHO.methods[0], Vec::new());
    let (_, metadata) = call.with_metadata().await.unwrap();
    let who = metadata.trailers.get("x-who").unwrap();
    assert_eq!(who, format!("{id} [\"client.example\"] [127.0.0.1] true"));
    // Without a certificate, with one of another authority, and with another name of the server.
    let others = [authority.client_tls(), Authority::new().client_tls_as(&["client.example"])];
    for tls in others {
        let channel = server.builder().tls(tls).build().unwrap();
        let call = channel.unary::<Raw, Vec<u8>, Vec<u8>>(&ECHO.methods[0], Vec::new());
        assert_eq!(call.await.unwrap_err().code(), Code::Unavailable);
    }
}
