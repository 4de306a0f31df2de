//! Webhooks: the sender hears 2xx only of what is safe, and its redeliveries keep their ids.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use connector_sdk::{
    AddressRate, Admission, Http, HttpFault, HttpRequest, HttpResponse, KeyRef, Keys, Outcome, RawEvent, Refusal,
    Reply, SourceClass, Timestamp, Webhook, async_trait,
};
use inlet::delivery::memory::{Answer, Script};
use inlet::delivery::{PublishError, Publisher};
use inlet::intake::push::PushLine;
use inlet::intake::webhook::Hook;
use inlet::pipeline::record::Record;

use crate::cut::CutAfter;
use crate::inputs::{Input, stream, stream_with_blobs};
use crate::judge::{Repeats, came, judge};
use crate::world::World;

const DEADLINE: Duration = Duration::from_millis(2500);
const KEY_URL: &str = "https://provider.example/keys";

#[derive(Default)]
struct FakeWebhook {
    rate: Option<AddressRate>,
    /// Verification needs the provider's key.
    keyed: bool,
    panics_in_admit: bool,
    panics_in_reply: bool,
}

impl Webhook for FakeWebhook {
    fn methods(&self) -> &[&'static str] {
        &["GET", "POST"]
    }

    fn rate(&self) -> Option<AddressRate> {
        self.rate
    }

    fn admit(&self, request: &RawEvent, keys: &Keys, _: Timestamp) -> Admission {
        assert!(!self.panics_in_admit, "scripted panic in admit");
        if request.method == "GET" && request.body.is_empty() {
            return Admission::Answer(Reply::text(200, "a page"));
        }
        if self.keyed && keys.get(KEY_URL).is_none() {
            return Admission::Need(KeyRef { url: KEY_URL.into(), key_id: None });
        }
        match request.headers.get("authorization") {
            Some("Bearer the-secret") => Admission::Accept,
            _ => Admission::Refuse(Refusal::signature("wrong or missing")),
        }
    }

    fn reply(&self, _: &RawEvent, outcome: &Outcome) -> Reply {
        assert!(!self.panics_in_reply, "scripted panic in reply");
        Reply::default_for(outcome)
    }

    fn sign(&self, _: &mut RawEvent, _: Timestamp) {}
}

/// The provider's key server.
#[derive(Default)]
struct KeyServer {
    down: AtomicBool,
    calls: AtomicUsize,
}

#[async_trait]
impl Http for KeyServer {
    async fn send(&self, _: HttpRequest) -> Result<HttpResponse, HttpFault> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        if self.down.load(Ordering::Relaxed) {
            return Err(HttpFault::Timeout { host: "provider.example".into(), seconds: 2 });
        }
        Ok(HttpResponse { status: 200, headers: Default::default(), body: "a key".into() })
    }
}

fn hook(world: &World, webhook: FakeWebhook) -> Hook {
    Hook::new(world.instance.clone(), Arc::new(webhook), Arc::new(KeyServer::default()))
}

fn post(input: &Input) -> RawEvent {
    let mut raw = input.raw();
    raw.method = "POST".to_owned();
    raw
}

fn inputs() -> Vec<Input> {
    let mut inputs = stream("a", 40);
    inputs.extend(stream_with_blobs("b", 12));
    inputs
}

/// Sends until it is taken, as providers do; checks each promise.
async fn send(world: &World, hook: &Hook, all: &[Input], input: &Input) {
    for _ in 0..200 {
        let reply = hook.handle(post(input), &world.push, DEADLINE).await;
        match reply.status {
            200 => {
                let so_far = came(all, &world.publisher.records());
                assert!(so_far.is_safe(input), "{input:?} was acknowledged before it was safe");
                return;
            }
            503 => assert!(reply.headers.iter().any(|(name, _)| *name == "retry-after")),
            other => panic!("{input:?}: {other}"),
        }
    }
    panic!("never taken: {input:?}");
}

#[tokio::test(start_paused = true)]
async fn a_2xx_is_a_promise_that_is_kept_whatever_kafka_answers() {
    let mut scripts = vec![Script::always(Answer::Taken), Script::always(Answer::Refused), Script::outage(12)];
    scripts.extend((0..40).map(Script::random));
    for script in scripts {
        let world = World::new(SourceClass::Redeliver { horizon: DEADLINE }, script);
        let (hook, inputs) = (hook(&world, FakeWebhook::default()), inputs());
        for input in &inputs {
            send(&world, &hook, &inputs, input).await;
        }
        judge(&inputs, &world.publisher.records(), Repeats::Allowed);
        let tally = world.tally();
        assert_eq!(tally.in_flight(), 0);
        assert_eq!(tally.published + tally.skipped + tally.dead_lettered, inputs.len() as u64);
    }
}

#[tokio::test(start_paused = true)]
async fn cut_off_at_each_await() {
    for polls in 1.. {
        let world = World::new(SourceClass::Redeliver { horizon: DEADLINE }, Script::first([Answer::TakenUnheard]));
        let hook = hook(&world, FakeWebhook::default());
        let inputs = stream_with_blobs("b", 4);
        let input = &inputs[3];
        let was_cut = CutAfter::new(hook.handle(post(input), &world.push, DEADLINE), polls).await.is_none();
        let tally = world.tally();
        assert_eq!((tally.in_flight(), tally.accepted), (0, 1), "cut after {polls}");
        send(&world, &hook, &inputs, input).await;
        judge(std::slice::from_ref(input), &world.publisher.records(), Repeats::Allowed);
        if !was_cut {
            assert!(polls > 2, "only {polls} awaits were tried");
            break;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn d6_kafka_away_for_good_is_503_for_ever() {
    let world = World::new(SourceClass::Redeliver { horizon: DEADLINE }, Script::always(Answer::Lost));
    let hook = hook(&world, FakeWebhook::default());
    for input in &inputs() {
        let status = hook.handle(post(input), &world.push, DEADLINE).await.status;
        let is_skipped = input.verb == crate::inputs::Verb::Skip;
        assert_eq!(status, if is_skipped { 200 } else { 503 }, "{input:?}");
    }
    assert!(world.publisher.records().is_empty());
    assert!(
        world
            .metrics
            .render()
            .contains("inlet_inputs_returned_total{instance=\"i\",connector=\"fake\",detail=\"kafka\"}")
    );
}

/// Kafka takes it, and says so too late.
struct Slow(Arc<dyn Publisher>);

#[async_trait]
impl Publisher for Slow {
    async fn publish(&self, records: Vec<Record>) -> Result<(), PublishError> {
        self.0.publish(records).await?;
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn what_arrives_after_the_deadline_is_given_back_and_counted() {
    let world = World::new(SourceClass::Redeliver { horizon: DEADLINE }, Script::always(Answer::Taken));
    let hook = hook(&world, FakeWebhook::default());
    let input = &stream("a", 1)[0];
    let slow = PushLine { publisher: Arc::new(Slow(world.publisher.clone())), ..world.push.clone() };
    assert_eq!(hook.handle(post(input), &slow, DEADLINE).await.status, 503);
    let late = "inlet_inputs_returned_total{instance=\"i\",connector=\"fake\",detail=\"deadline\"} 1";
    assert!(world.metrics.render().contains(late), "{}", world.metrics.render());
    assert_eq!(hook.handle(post(input), &world.push, DEADLINE).await.status, 200);
    // Twice on Kafka, with one id.
    assert_eq!(world.publisher.records().len(), 2);
    judge(std::slice::from_ref(input), &world.publisher.records(), Repeats::Allowed);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_genuine_leaves_no_trace_but_a_count() {
    let world = World::new(SourceClass::Redeliver { horizon: DEADLINE }, Script::always(Answer::Taken));
    let hook = hook(&world, FakeWebhook::default());
    let mut forged = post(&stream("a", 1)[0]);
    forged.headers.set("authorization", "Bearer another");
    assert_eq!(hook.handle(forged, &world.push, DEADLINE).await.status, 401);
    assert!(world.publisher.records().is_empty());
    assert_eq!(world.tally().accepted, 0);
    let text = world.metrics.render();
    assert!(text.contains("detail=\"signature\"} 1") && !text.contains("another"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_connector_that_panics_keeps_its_promises() {
    let world = World::new(SourceClass::Redeliver { horizon: DEADLINE }, Script::always(Answer::Taken));
    let input = &stream("a", 1)[0];
    let bad = hook(&world, FakeWebhook { panics_in_admit: true, ..FakeWebhook::default() });
    assert_eq!(bad.handle(post(input), &world.push, DEADLINE).await.status, 400);
    assert!(world.publisher.records().is_empty());
    let bad = hook(&world, FakeWebhook { panics_in_reply: true, ..FakeWebhook::default() });
    assert_eq!(bad.handle(post(input), &world.push, DEADLINE).await.status, 200);
    judge(std::slice::from_ref(input), &world.publisher.records(), Repeats::Never);
}

/// HEAD is answered as GET is, and is never input.
#[tokio::test(start_paused = true)]
async fn a_head_request_brings_no_input() {
    let world = World::new(SourceClass::Redeliver { horizon: DEADLINE }, Script::always(Answer::Taken));
    let hook = hook(&world, FakeWebhook::default());
    let mut page = post(&stream("a", 1)[0]);
    page.method = "HEAD".to_owned();
    assert_eq!(hook.handle(page.clone(), &world.push, DEADLINE).await.status, 200);
    page.body = Default::default();
    assert_eq!(hook.handle(page, &world.push, DEADLINE).await.status, 200);
    assert!(world.publisher.records().is_empty());
    assert_eq!(world.tally().accepted, 0);
}

#[tokio::test(start_paused = true)]
async fn only_input_counts_against_an_address() {
    let world = World::new(SourceClass::Ephemeral, Script::always(Answer::Taken));
    let rate = AddressRate { burst: 2, every: Duration::from_secs(3600) };
    let hook = hook(&world, FakeWebhook { rate: Some(rate), ..FakeWebhook::default() });
    let from = |mut raw: RawEvent, peer: &str| {
        raw.peer = Some(peer.parse().unwrap());
        raw
    };
    let input = &stream("a", 1)[0];
    let mut page = post(input);
    (page.method, page.body) = ("GET".to_owned(), Default::default());
    for _ in 0..10 {
        assert_eq!(hook.handle(from(page.clone(), "192.0.2.1"), &world.push, DEADLINE).await.status, 200);
    }
    let mut statuses = Vec::new();
    for peer in ["192.0.2.1", "192.0.2.1", "192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2", "2001:db8::3"] {
        statuses.push(hook.handle(from(post(input), peer), &world.push, DEADLINE).await.status);
    }
    assert_eq!(statuses, [200, 200, 429, 200, 200, 200, 429]);
    // Over its rate it was never accepted.
    assert_eq!(world.tally().accepted, 5);
}

#[tokio::test(start_paused = true)]
async fn without_the_providers_key_nothing_is_let_in() {
    let world = World::new(SourceClass::Redeliver { horizon: DEADLINE }, Script::always(Answer::Taken));
    let server = Arc::new(KeyServer::default());
    server.down.store(true, Ordering::Relaxed);
    let webhook = FakeWebhook { keyed: true, ..FakeWebhook::default() };
    let hook = Hook::new(world.instance.clone(), Arc::new(webhook), server.clone());
    let input = &stream("a", 1)[0];
    for _ in 0..5 {
        assert_eq!(hook.handle(post(input), &world.push, DEADLINE).await.status, 503);
    }
    assert_eq!(server.calls.load(Ordering::Relaxed), 1);
    assert!(world.publisher.records().is_empty());
    server.down.store(false, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert_eq!(hook.handle(post(input), &world.push, DEADLINE).await.status, 200);
    judge(std::slice::from_ref(input), &world.publisher.records(), Repeats::Never);
}
