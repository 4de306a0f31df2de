//! D11: SIGTERM to the process: unready, serve on, refuse, settle, flush, exit 0 within the grace period. Real Kafka.

use anyhow::{Context, Result};
use inlet_tests::config::Config;
use inlet_tests::consume::Committed;
use inlet_tests::gateway::Gateway;
use inlet_tests::http_client::{Answer, Request};
use inlet_tests::runtime::block_on;
use inlet_tests::servers::kafka::Kafka;
use inlet_tests::{wait, webhooks};
use std::collections::BTreeSet;
use std::io::Write;
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(60);
/// For what must happen at once, on a busy machine.
const SOON: Duration = Duration::from_secs(5);
const SECRET: &str = "shop-s3cret-1";
const SENDERS: usize = 4;

/// A gateway that serves on for `propagation` and ends within `grace`.
fn config(kafka: &Kafka, prefix: &str, propagation: &str, grace: &str) -> Config {
    Config::new(kafka, prefix, include_str!("instances.yaml"))
        .with(&format!("shutdown: {{ propagation: {propagation}, grace: {grace} }}"))
}

fn order(gateway: &Gateway, number: usize) -> Request {
    signed(&gateway.intake("shop"), number)
}

fn signed(url: &str, number: usize) -> Request {
    let body = include_str!("../e2e_webhooks/slack_message.json")
        .replace("@EVENT_ID@", &format!("Ev{number:08}"))
        .replace("@CHANNEL@", "C01")
        .replace("@TS@", &format!("1766458031.{number:06}"))
        .replace("@TEXT@", &format!("order {number}"));
    webhooks::slack(url, SECRET, body)
}

fn accepted(answer: &Result<Answer>) -> bool {
    answer.as_ref().is_ok_and(|answer| (200..300).contains(&answer.status))
}

/// Everything that was answered 2xx is on Kafka.
fn all_arrived(kafka: &Kafka, config: &Config, accepted: &BTreeSet<usize>) -> Result<()> {
    let mut committed = Committed::open(&kafka.bootstrap(), &config.events(), LIMIT)?;
    let expected: BTreeSet<_> = accepted.iter().map(|number| format!("order {number}")).collect();
    committed.read_until(LIMIT, "every obligation", |records| {
        let seen: BTreeSet<_> = records.iter().filter_map(|record| record.text("/text")).collect();
        expected.is_subset(&seen)
    })?;
    Ok(())
}

/// Under load: unready at once, served for the propagation delay, then refused, and nothing that was answered is lost.
#[test]
fn d11_serves_until_load_balancers_know_and_loses_nothing() -> Result<()> {
    let kafka = Kafka::shared();
    let config = config(kafka, "drainload", "3s", "25s");
    let mut gateway = Gateway::run(&config.text())?;
    wait::until_true(LIMIT, "a first 2xx", || accepted(&order(&gateway, 0).send()))?;
    let (done, next) = (AtomicBool::new(false), AtomicUsize::new(1));
    let taken = Mutex::new(BTreeSet::from([0]));
    let (began, readyz) = (Instant::now(), format!("{}/readyz", gateway.admin));
    let orders = gateway.intake("shop");
    std::thread::scope(|scope| -> Result<()> {
        for _ in 0..SENDERS {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if accepted(&signed(&orders, number).send()) {
                        taken.lock().expect("no panic while held").insert(number);
                    }
                }
            });
        }
        let served = || taken.lock().expect("no panic while held").len();
        let ended = (|| {
            wait::until_true(LIMIT, "load", || served() > 50)?;
            gateway.process()?.terminate();
            wait::until(SOON, "unready", || Ok((Request::get(&readyz).send()?.status == 503).then_some(())))?;
            // What is answered from here on was sent after the signal.
            let before = served();
            wait::until_true(SOON, "input that is still served", || served() > before + 20)?;
            gateway.process()?.wait_exit(LIMIT)
        })();
        done.store(true, Ordering::Relaxed);
        let status = ended?;
        assert!(status.success(), "{status}\n{}", gateway.stderr());
        Ok(())
    })?;
    assert!(began.elapsed() > Duration::from_secs(3), "it did not wait for load balancers");
    all_arrived(kafka, &config, &taken.into_inner().expect("no panic"))
}

/// Half a body, half a head and an idle h2 connection: they end with the process, which ends in time and well.
#[test]
fn d11_slow_and_idle_connections_do_not_hold_it_up() -> Result<()> {
    let kafka = Kafka::shared();
    let config = config(kafka, "drainslow", "0s", "14s").with_ingress("limits: { read_timeout: 5m, idle_timeout: 5m }");
    let mut gateway = Gateway::run(&config.text())?;
    wait::until_true(LIMIT, "a first 2xx", || accepted(&order(&gateway, 0).send()))?;
    let address = gateway.ingress.trim_start_matches("http://").to_owned();
    let say = |text: &str| -> Result<TcpStream> {
        let mut stream = TcpStream::connect(&address)?;
        stream.write_all(text.as_bytes())?;
        Ok(stream)
    };
    let _half_body = say("POST /in/shop HTTP/1.1\r\nhost: h\r\ncontent-length: 100\r\n\r\nhalf")?;
    let _half_head = say("POST /in/shop HTTP/1.1\r\nho")?;
    let client = reqwest::Client::builder().http2_prior_knowledge().no_proxy().timeout(LIMIT).build()?;
    let url = format!("{}/nothing", gateway.ingress);
    let h2 = block_on(async { client.get(url).send().await })?;
    assert_eq!((h2.version(), h2.status().as_u16()), (http::Version::HTTP_2, 404));
    let began = Instant::now();
    let status = gateway.stop()?;
    assert!(status.success(), "{status}");
    assert!(began.elapsed() < Duration::from_secs(14) + SOON, "{:?}", began.elapsed());
    Ok(())
}

/// Kafka is away: what is in flight is given back (or spooled), and the end is in time and well all the same.
#[test]
fn d11_kafka_away_does_not_hold_it_up() -> Result<()> {
    let mut kafka = Kafka::one()?;
    let config = config(&kafka, "drainaway", "0s", "20s");
    let mut gateway = Gateway::run(&config.text())?;
    wait::until_true(LIMIT, "a first 2xx", || accepted(&order(&gateway, 0).send()))?;
    kafka.kill(0);
    let request = order(&gateway, 1);
    let held = std::thread::spawn(move || request.send());
    wait::until(LIMIT, "input in flight", || {
        Ok((gateway.metric("inlet_inputs_accepted_total", &["instance=\"shop\""])? >= 2.0).then_some(()))
    })?;
    let began = Instant::now();
    let status = gateway.stop()?;
    assert!(status.success(), "{status}");
    assert!(began.elapsed() < Duration::from_secs(20) + SOON, "{:?}", began.elapsed());
    // It has its answer, whichever: nobody is left hanging.
    let answer = held.join().expect("no panic").context("the one in flight has an answer")?;
    assert!([200, 202, 503].contains(&answer.status), "{}", answer.status);
    kafka.start(0)?;
    let mut obligations = BTreeSet::from([0]);
    if answer.status < 300 {
        obligations.insert(1);
        gateway.start()?;
    }
    all_arrived(&kafka, &config, &obligations)
}

/// Whoever asks twice means it.
#[test]
fn d11_a_second_signal_ends_at_once() -> Result<()> {
    let kafka = Kafka::shared();
    let config = config(kafka, "draintwice", "30s", "60s");
    let mut gateway = Gateway::run(&config.text())?;
    gateway.process()?.terminate();
    gateway.wait_line(SOON, "stopping", |line| line.contains("stopping"))?;
    let began = Instant::now();
    gateway.process()?.interrupt();
    let status = gateway.process()?.wait_exit(SOON)?;
    assert!(began.elapsed() < SOON && status.code() == Some(1), "{status} after {:?}", began.elapsed());
    Ok(())
}
