# shunt's programs in one image: built from Debian's packages, run as a user
# without rights. The command says which of them a container is.
FROM debian:bookworm-slim AS build
RUN apt-get update && apt-get install -y --no-install-recommends \
        gcc libc6-dev make pkg-config libnats-dev libprotobuf-c-dev \
        protobuf-c-compiler libuv1-dev libjansson-dev libyaml-dev \
        libsqlite3-dev libmicrohttpd-dev libcurl4-openssl-dev libssl-dev && \
    rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN make -j"$(nproc)" && make install DESTDIR=/out PREFIX=/usr

FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends \
        libnats3.4 libprotobuf-c1 libuv1 libjansson4 libyaml-0-2 \
        libsqlite3-0 libmicrohttpd12 libcurl4 bash git make python3-minimal ca-certificates && \
    rm -rf /var/lib/apt/lists/* && \
    useradd --uid 10001 --create-home --home-dir /var/lib/shunt shunt && \
    mkdir /work && chown shunt /work
COPY --from=build /out/usr/bin/ /usr/bin/
USER shunt
ENV SHUNT_HOME=/var/lib/shunt
WORKDIR /work
CMD ["shunt", "help"]
