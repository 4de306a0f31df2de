FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked -p inlet

FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --create-home inlet
COPY --from=build /src/target/release/inlet /usr/local/bin/inlet
USER 10001
ENTRYPOINT ["/usr/local/bin/inlet"]
CMD ["run", "-c", "/etc/inlet/inlet.yaml"]
