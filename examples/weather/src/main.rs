//! Server streaming and client streaming: follow a weather station, then report readings to it.
//!
//! `weather` serves on a free port of this host, follows the station, reports what it saw, and
//! exits.

#![allow(clippy::print_stdout, reason = "a program that talks to its user")]

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use gannet::{Call, Channel, Inbound, Listener, Outbound, Result, Server, Status};

use proto::weather::{FollowRequest, Reading, Station, StationClient, StationServer, Summary};

/// Generated from `proto/weather.proto` by `build.rs`.
mod proto {
    include!(concat!(env!("OUT_DIR"), "/gannet.rs"));
}

/// Follow a weather station, then report readings to it.
#[derive(Parser)]
struct Args {
    /// Address to serve on
    #[arg(long, default_value = "127.0.0.1:0")]
    addr: String,
    /// How many readings to follow
    #[arg(long, default_value_t = 5)]
    readings: u32,
}

struct Roof;

impl Station for Roof {
    async fn follow(
        &self,
        _: &mut Call,
        request: FollowRequest,
        mut readings: Outbound<Reading>,
    ) -> Result<()> {
        if request.place.is_empty() {
            return Err(Status::invalid_argument("say which place to follow"));
        }
        for n in 0..request.readings {
            let temperature = 12.0 + 4.0 * (f64::from(n) * 0.8).sin();
            // Waits while the follower does not keep up.
            let place = request.place.clone();
            readings.send(Reading { place, temperature, ..Default::default() }).await?;
            tokio::time::sleep(Duration::from_millis(request.pause_ms.into())).await;
        }
        Ok(())
    }

    async fn report(&self, _: &mut Call, mut readings: Inbound<Reading>) -> Result<Summary> {
        let mut temperatures = Vec::new();
        while let Some(reading) = readings.next().await? {
            temperatures.push(reading.temperature);
        }
        if temperatures.is_empty() {
            return Err(Status::failed_precondition("there was no reading to sum up"));
        }
        let count = u32::try_from(temperatures.len()).unwrap_or(u32::MAX);
        Ok(Summary {
            readings: count,
            lowest: temperatures.iter().copied().fold(f64::INFINITY, f64::min),
            highest: temperatures.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            mean: temperatures.iter().sum::<f64>() / f64::from(count),
            ..Default::default()
        })
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("weather: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> Result<(), Box<dyn std::error::Error>> {
    let listener = Listener::tcp(args.addr)?;
    let target = listener.local_addr().map(|addr| addr.to_string()).unwrap_or_default();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let server = tokio::spawn(async move {
        let stopped = async {
            let _ = stopped.await;
        };
        let server = Server::new().add(StationServer::new(Roof));
        server.serve(listener).shutdown_on(stopped, Duration::from_secs(5)).await
    });

    let client = StationClient::new(Channel::builder(&target).build()?);
    let seen = follow(&client, args.readings).await?;
    report(&client, seen).await?;
    refused(&client).await;

    let _ = stop.send(());
    server.await??;
    Ok(())
}

/// Server streaming: one request, many messages back.
async fn follow(client: &StationClient, readings: u32) -> Result<Vec<Reading>> {
    let place = "lighthouse".to_owned();
    let request = FollowRequest { place, readings, pause_ms: 100, ..Default::default() };
    let mut follow = client.follow(request).timeout(Duration::from_secs(60)).await?;
    let mut seen = Vec::new();
    while let Some(reading) = follow.next().await? {
        println!("{}: {:.1} °C", reading.place, reading.temperature);
        seen.push(reading);
    }
    Ok(seen)
}

/// Client streaming: many messages, one reply.
async fn report(client: &StationClient, readings: Vec<Reading>) -> Result<()> {
    let (mut report, summary) = client.report().await?;
    for reading in readings {
        report.send(reading).await?;
    }
    report.finish();
    let summary = summary.await?;
    println!(
        "{} readings from {:.1} to {:.1} °C, {:.1} °C on average",
        summary.readings, summary.lowest, summary.highest, summary.mean
    );
    Ok(())
}

/// An error that the server chose, as the client sees it.
async fn refused(client: &StationClient) {
    let nowhere = FollowRequest::default();
    let outcome = match client.follow(nowhere).await {
        Ok(mut readings) => readings.next().await.map(|_| ()),
        Err(status) => Err(status),
    };
    match outcome {
        Ok(()) => println!("a reading from nowhere"),
        Err(status) => println!("following nowhere: {status}"),
    }
}

#[cfg(test)]
mod tests {
    use gannet::Code;
    use gannet::codec::Buffa;
    use gannet_testing::{FakeAnswer, FakeServer, Faults, InProcess, TestCall, inbound, replies};
    use tokio::time::Instant;

    use super::*;
    use crate::proto::weather::STATION;

    fn reading(temperature: f64) -> Reading {
        Reading { place: "roof".into(), temperature, ..Default::default() }
    }

    #[tokio::test(start_paused = true)]
    async fn readings_are_summed_up() {
        let readings = inbound::<Buffa, _>([11.0, 15.0, 13.0].map(reading));
        let summary = Roof.report(&mut TestCall::new(), readings).await.unwrap();
        assert_eq!((summary.readings, summary.lowest, summary.highest), (3, 11.0, 15.0));
        assert_eq!(summary.mean, 13.0);
        let status = Roof.report(&mut TestCall::new(), inbound::<Buffa, _>([])).await.unwrap_err();
        assert_eq!(status.code(), Code::FailedPrecondition);
    }

    /// An hour of readings, at once.
    #[tokio::test(start_paused = true)]
    async fn readings_come_with_pauses() {
        let request = FollowRequest {
            place: "roof".into(),
            readings: 60,
            pause_ms: 60_000,
            ..Default::default()
        };
        let (to, mut sent) = replies::<Buffa, _>();
        let started = Instant::now();
        Roof.follow(&mut TestCall::new(), request, to).await.unwrap();
        assert_eq!(started.elapsed(), Duration::from_secs(3_600));
        let sent: Vec<Reading> = sent.all().await.unwrap();
        assert_eq!((sent.len(), &*sent[0].place), (60, "roof"));
    }

    /// The client, against a server that answers as it is told.
    #[tokio::test(start_paused = true)]
    async fn the_client_reports_what_it_saw() {
        let seen = [reading(1.0), reading(2.0)];
        let summary = Summary { readings: 2, ..Default::default() };
        let fake = FakeServer::new(&STATION)
            .on("Follow", [FakeAnswer::messages::<Buffa, _>(&seen)])
            .on("Report", [FakeAnswer::message::<Buffa, _>(&summary)]);
        let client = StationClient::new(fake.channel());
        let readings = follow(&client, 2).await.unwrap();
        report(&client, readings).await.unwrap();
        let calls = fake.calls();
        let asked = &calls[0].messages::<Buffa, FollowRequest>().unwrap()[0];
        assert_eq!((asked.readings, &*asked.place), (2, "lighthouse"));
        assert_eq!(calls[1].messages::<Buffa, Reading>().unwrap(), seen);
    }

    #[tokio::test(start_paused = true)]
    async fn a_station_without_a_place_is_refused() {
        let client = StationClient::new(gannet_testing::channel(StationServer::new(Roof)));
        let mut readings = client.follow(FollowRequest::default()).await.unwrap();
        assert_eq!(readings.next().await.unwrap_err().code(), Code::InvalidArgument);
    }

    /// A client of the roof, where this happens to calls.
    fn client_with(faults: Faults) -> StationClient {
        let server = Server::new().add(StationServer::new(Roof)).intercept(faults);
        StationClient::new(InProcess::serve(server).channel())
    }

    /// A station may be late by less than a minute.
    #[tokio::test(start_paused = true)]
    async fn the_client_waits_for_a_minute() {
        let started = Instant::now();
        let [late, too_late] = [50, 70].map(Duration::from_secs);
        let client = client_with(Faults::seeded(1).delay(1.0, late..late));
        assert_eq!(follow(&client, 3).await.unwrap().len(), 3);
        assert_eq!(started.elapsed().as_secs(), 50);

        let started = Instant::now();
        let client = client_with(Faults::seeded(1).delay(1.0, too_late..too_late));
        let status = follow(&client, 3).await.unwrap_err();
        assert_eq!(status.code(), Code::DeadlineExceeded);
        assert_eq!(started.elapsed().as_secs(), 60);
    }

    /// Nor does a report count that the station did not take.
    #[tokio::test(start_paused = true)]
    async fn a_report_that_fails_is_told_of() {
        let closed = Status::unavailable("the station is closed");
        let faults = Faults::seeded(1).abort(1.0, closed).only_on("/weather.Station/Report");
        let client = client_with(faults.clone());
        let seen = follow(&client, 3).await.unwrap();
        let status = report(&client, seen).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::Unavailable, "the station is closed"));
        assert_eq!(faults.fates().len(), 1, "who follows is left alone");
    }
}
