//! Log lines for people or machines, on standard error; traces by OTLP where asked for.

use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{Protocol, WithExportConfig};
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::config::model::{Log, LogFormat, Tracing};

/// Keeps the exporter alive; dropping it flushes what is left.
pub struct Telemetry {
    provider: Option<SdkTracerProvider>,
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        if let Some(provider) = &self.provider {
            // At exit nobody is left to tell.
            let _ = provider.shutdown();
        }
    }
}

/// Starts logging (and tracing). `RUST_LOG` wins over the configured level.
pub fn start(log: &Log, tracing: &Tracing) -> Result<Telemetry, String> {
    let filter = match std::env::var("RUST_LOG") {
        Ok(directives) => EnvFilter::try_new(directives),
        // librdkafka reports every broker it cannot reach, once a second; the gateway says it once itself.
        Err(_) => EnvFilter::try_new(format!("{},librdkafka=off,rdkafka=off", log.level)),
    };
    let filter = filter.map_err(|error| format!("log.level: {error}"))?;
    let lines = match log.format {
        LogFormat::Human => tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false).boxed(),
        LogFormat::Json => tracing_subscriber::fmt::layer().with_writer(std::io::stderr).json().boxed(),
    };
    let provider = tracing.otlp_endpoint.as_deref().map(provider).transpose()?;
    let traces = provider.as_ref().map(|provider| tracing_opentelemetry::layer().with_tracer(provider.tracer("inlet")));
    // The filter stands before all layers: attached to one of them, a line of librdkafka's that it suppressed took the
    // next line of the same thread with it.
    tracing_subscriber::registry()
        .with(filter)
        .with(lines)
        .with(traces)
        .try_init()
        .map_err(|error| error.to_string())?;
    Ok(Telemetry { provider })
}

fn provider(endpoint: &str) -> Result<SdkTracerProvider, String> {
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(endpoint)
        .build()
        .map_err(|error| format!("tracing.otlp_endpoint: {error}"))?;
    let resource = opentelemetry_sdk::Resource::builder().with_service_name("inlet").build();
    Ok(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build())
}
