//! Our client: begins operations at an even pace, chosen by chance among kinds and servers.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use gannet::Channel;
use gannet::client::ChannelBuilder;
use gannet::tls::{ClientTls, Roots};
use gannet_interop::check::Outcome;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::operations::{OPERATIONS, Operation};
use crate::others;
use crate::server::Ours;
use crate::tally::Tally;
use crate::{Error, RunArgs};

/// Operations under way at once, beyond which no more are begun.
const UNDER_WAY_MAX: usize = 200;
/// The name in the certificates of gRPC's interop programs.
const CERTIFIED_NAME: &str = "foo.test.google.fr";

/// Where operations go.
struct Place {
    name: String,
    builder: ChannelBuilder,
    channel: Channel,
    weight: u32,
    ours: bool,
}

/// Begins operations.
pub(crate) struct Driver {
    places: Vec<Arc<Place>>,
    pace: Duration,
    chance: fastrand::Rng,
    tally: Arc<Tally>,
}

impl Driver {
    pub(crate) fn new(
        args: &RunArgs,
        seed: u64,
        ours: &Ours,
        others: &[others::Server],
        tally: Arc<Tally>,
    ) -> Result<Driver, Error> {
        let place = |name: &str, port: u16, weight, tls| {
            let mut builder = Channel::builder(format!("127.0.0.1:{port}"));
            if let Some(tls) = tls {
                builder = builder.tls(tls).authority(CERTIFIED_NAME);
            }
            let (channel, ours) = (builder.clone().build()?, name.starts_with("gannet"));
            Ok::<_, Error>(Arc::new(Place {
                name: name.to_owned(),
                builder,
                channel,
                weight,
                ours,
            }))
        };
        let mut places = vec![place("gannet", ours.port, 5, None)?];
        if let (Some(port), Some(folder)) = (ours.tls_port, &args.certificates) {
            places.push(place("gannet, TLS", port, 3, Some(trust(folder)?))?);
        }
        for other in others {
            places.push(place(other.name(), other.port, 2, None)?);
        }
        let pace = Duration::from_secs_f64(1.0 / args.rate.clamp(0.001, 10_000.0));
        Ok(Driver { places, pace, chance: fastrand::Rng::with_seed(seed), tally })
    }

    /// Begins operations until it is told to stop; ends when all have ended.
    pub(crate) async fn drive(mut self, mut stopped: watch::Receiver<bool>) {
        let mut ticks = tokio::time::interval(self.pace);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut under_way = JoinSet::new();
        loop {
            tokio::select! {
                _ = stopped.wait_for(|stopped| *stopped) => break,
                _ = ticks.tick() => {}
            }
            while let Some(ended) = under_way.try_join_next() {
                self.ended(ended);
            }
            if under_way.len() >= UNDER_WAY_MAX {
                self.tally.skip();
                continue;
            }
            let place = Arc::clone(self.choose(&self.places.clone(), |place| place.weight));
            let fit: Vec<_> = OPERATIONS.iter().filter(|o| place.ours || !o.ours_only).collect();
            let operation = **self.choose(&fit, |operation| operation.weight);
            under_way.spawn(run(operation, place, self.chance.u64(..)));
        }
        while let Some(ended) = under_way.join_next().await {
            self.ended(ended);
        }
    }

    fn choose<'a, T>(&mut self, among: &'a [T], weight: impl Fn(&T) -> u32) -> &'a T {
        let sum: u32 = among.iter().map(&weight).sum();
        let mut chosen = self.chance.u32(..sum);
        for item in among {
            match chosen.checked_sub(weight(item)) {
                Some(rest) => chosen = rest,
                None => return item,
            }
        }
        unreachable!("what was chosen is below the sum of all weights")
    }

    fn ended(&self, ended: Result<(String, Outcome), tokio::task::JoinError>) {
        match ended {
            Ok((name, outcome)) => self.tally.add(&name, &outcome),
            Err(error) => self.tally.add("panic", &Err(error.into())),
        }
    }
}

async fn run(operation: Operation, place: Arc<Place>, chance: u64) -> (String, Outcome) {
    let outcome = operation.run(&place.builder, &place.channel, chance).await;
    (format!("{}->{}", operation.name, place.name), outcome)
}

fn trust(folder: &Path) -> Result<ClientTls, Error> {
    let roots = Roots::from_pem_file(folder.join("ca.pem"))?;
    Ok(ClientTls::builder().roots(roots).server_name(CERTIFIED_NAME).build()?)
}
