//! Rules for services and methods by their names: a misspelt one is told before anything is served.

use std::future::IntoFuture;

use gannet_auth::JwtAuth;
use gannet_server::{ServeError, Server};
use gannet_transport::pipe;

use crate::world::{World, usual};

async fn refused(auth: JwtAuth) -> String {
    let (_connector, listener) = pipe();
    let serving = Server::new().intercept(auth).add(World::new()).serve(listener);
    let serving = tokio::time::timeout(std::time::Duration::from_secs(1), serving.into_future());
    match serving.await.expect("it does not serve").unwrap_err() {
        ServeError::UnknownName(name) => name,
        other => panic!("{other}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_rule_for_a_name_that_nothing_has_fails_serve() {
    for name in ["test.Test/Who", "/test.Test/who", "/test.Test", "test.test", "", "other.Other"] {
        assert_eq!(refused(usual().require_scope_on(name, "admin")).await, name);
        assert_eq!(refused(usual().except(name)).await, name);
        let good = usual().except("test.Test").require_scope_on("/test.Test/Who", "read");
        assert_eq!(refused(good.require_scope_on(name, "admin")).await, name);
    }
}
