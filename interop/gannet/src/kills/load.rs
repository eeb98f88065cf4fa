//! Callers that go on until they are told to stop, and what became of their calls.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use gannet::{Channel, Result, Status};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{HANGS, Made};
use crate::proto::grpctest::{GrpctestClient, Message};

/// See the module.
pub(super) struct Load {
    stop: Arc<AtomicBool>,
    pub(super) tally: Arc<Tally>,
    callers: JoinSet<OfOne>,
}

/// One caller's.
#[derive(Debug, Default)]
pub(super) struct OfOne {
    pub(super) failures: Vec<Status>,
    /// How long each call took that was answered, µs.
    pub(super) took: Vec<u32>,
}

/// Who has answered how often.
#[derive(Debug)]
pub(super) struct Tally {
    answers: BTreeMap<String, AtomicUsize>,
    failures: AtomicUsize,
}

impl Tally {
    fn new(names: &[String]) -> Tally {
        Tally {
            answers: names.iter().map(|name| (name.clone(), AtomicUsize::new(0))).collect(),
            failures: AtomicUsize::new(0),
        }
    }

    fn count(&self, name: &str) {
        if let Some(count) = self.answers.get(name) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn of(&self, name: &str) -> usize {
        self.answers.get(name).map_or(0, |count| count.load(Ordering::Relaxed))
    }

    pub(super) fn all(&self) -> usize {
        self.answers.values().map(|count| count.load(Ordering::Relaxed)).sum()
    }

    pub(super) fn failures(&self) -> usize {
        self.failures.load(Ordering::Relaxed)
    }
}

async fn call(client: &GrpctestClient) -> Result<String> {
    let request = Message { message: "who".into(), ..Default::default() };
    Ok(client.get_server_response(request).timeout(HANGS).await?.message)
}

impl Load {
    pub(super) fn start(channel: &Channel, callers: usize, names: &[String]) -> Load {
        let (stop, tally) = (Arc::new(AtomicBool::new(false)), Arc::new(Tally::new(names)));
        let mut load = Load { stop, tally, callers: JoinSet::new() };
        for _ in 0..callers {
            let (client, stop) = (GrpctestClient::new(channel.clone()), Arc::clone(&load.stop));
            let tally = Arc::clone(&load.tally);
            load.callers.spawn(async move {
                let mut one = OfOne::default();
                while !stop.load(Ordering::Relaxed) {
                    let started = Instant::now();
                    match call(&client).await {
                        Ok(name) => {
                            tally.count(&name);
                            let took = started.elapsed().as_micros();
                            one.took.push(u32::try_from(took).unwrap_or(u32::MAX));
                        }
                        Err(status) => {
                            tally.failures.fetch_add(1, Ordering::Relaxed);
                            one.failures.push(status);
                        }
                    }
                }
                one
            });
        }
        load
    }

    /// Waits until this is so; `what` it is.
    pub(super) async fn until(&self, what: &str, is: impl Fn(&Tally) -> bool) -> Made<()> {
        let waits = async {
            while !is(&self.tally) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        timeout(HANGS, waits).await.map_err(|_| format!("{what} does not come").into())
    }

    /// What became of each caller's calls.
    pub(super) async fn finish(self) -> Vec<OfOne> {
        self.stop.store(true, Ordering::Relaxed);
        self.callers.join_all().await
    }
}
