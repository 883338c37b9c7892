# bearerd in a container beside the application. See CONTAINERS in bearerd(8).
#
#   docker build -t bearerd .       (or podman)
#   docker run -d --read-only --stop-timeout 150 -v ./bearerd.conf:/etc/bearerd/bearerd.conf:ro \
#       -v ./secrets:/run/secrets:ro -v bearerd-socket:/run/bearerd -v bearerd-state:/var/lib/bearerd bearerd

FROM debian:bookworm-slim AS build
WORKDIR /src
COPY quickstart ./
RUN ./quickstart --dependencies
COPY meson.build meson_options.txt ./
COPY client client/
COPY conf conf/
COPY daemon daemon/
COPY systemd systemd/
RUN meson setup /build --buildtype=release -Dtests=false --prefix=/usr && ninja -C /build && \
    strip /build/daemon/bearerd /build/client/bearerctl

FROM debian:bookworm-slim
RUN apt-get update && \
    apt-get install -y --no-install-recommends ca-certificates libcurl4 libinih1 libjson-c5 libmicrohttpd12 \
        libqrencode4 libseccomp2 libsqlite3-0 libssl3 libsystemd0 && \
    rm -rf /var/lib/apt/lists/* && \
    install -d -m 0755 -o 4711 -g 4711 /run/bearerd && \
    install -d -m 0700 -o 4711 -g 4711 /var/lib/bearerd
COPY --from=build /build/daemon/bearerd /build/client/bearerctl /usr/bin/
# Engines make secrets readable for everybody in the container: %d/NAME in bearerd.conf says that this is meant so.
ENV CREDENTIALS_DIRECTORY=/run/secrets
# Any other number will do that may write to the volumes; it needs no entry in passwd.
USER 4711:4711
VOLUME /run/bearerd /var/lib/bearerd
HEALTHCHECK --interval=10s CMD ["bearerctl", "health"]
ENTRYPOINT ["bearerd"]
