# The image of Evergreen: one program, its certificates, a user without rights, a journal volume.
#
#   docker build --tag evergreen:local .
#
# compiles in the container. Who has compiled already, for Debian 12 or older, says so and waits
# for seconds instead of minutes (what CI does):
#
#   docker build --tag evergreen:local --build-arg PREBUILT=target/release/evergreen .

FROM rust:1.95-slim-bookworm AS builder
WORKDIR /src
COPY . .
ARG PREBUILT=
RUN set -eu; \
    if [ -n "$PREBUILT" ]; then \
        install -D "$PREBUILT" /out/evergreen; \
    else \
        cargo build --release --locked --package evergreen --bin evergreen; \
        install -D target/release/evergreen /out/evergreen; \
        rm -rf target; \
    fi; \
    /out/evergreen --version

FROM debian:bookworm-slim
RUN useradd --uid 10001 --user-group --home-dir /var/lib/evergreen --create-home \
        --shell /usr/sbin/nologin evergreen \
    && install --directory --owner evergreen --group evergreen --mode 700 \
        /var/lib/evergreen/journal
# The runtime image has no certificates of its own, and token endpoints are reached by TLS.
COPY --from=builder /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=builder /out/evergreen /usr/local/bin/evergreen
COPY deploy/probe /usr/local/bin/evergreen-probe

USER evergreen
WORKDIR /var/lib/evergreen
ENV EVERGREEN_LISTEN=0.0.0.0:8080 \
    EVERGREEN_JOURNAL_DIR=/var/lib/evergreen/journal \
    EVERGREEN_LOG_FORMAT=json
EXPOSE 8080
# Rotated tokens lie here, sealed, from the provider's answer to the durable commit. Keep it.
VOLUME /var/lib/evergreen/journal
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
    CMD ["evergreen-probe", "http://127.0.0.1:8080/healthz"]
ENTRYPOINT ["evergreen"]
CMD ["serve"]
