//! Encrypted listeners.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may stop at what it did not expect"
)]

mod support;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bailian_gateway::{Config, Server, ServerError};
use bailian_sim::{RunningSimulator, SimConfig, Simulator};
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use support::{KEY, OPENAI, Running, UPSTREAM_KEY, openai_body, over_http2, post, read};
use tempfile::TempDir;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A certificate that vouches for itself, as PEM, and as clients trust it.
struct Certified {
    certificate: String,
    key: String,
    trusted: CertificateDer<'static>,
}

impl Certified {
    fn new(host: &str) -> Self {
        let made = rcgen::generate_simple_self_signed([host.to_owned()]).unwrap();
        Self {
            certificate: made.cert.pem(),
            key: made.signing_key.serialize_pem(),
            trusted: made.cert.der().clone(),
        }
    }
}

/// A folder with certificates.
struct Files {
    folder: TempDir,
}

impl Files {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, certified: &Certified) {
        std::fs::write(self.path(&format!("{name}.crt")), &certified.certificate).unwrap();
        std::fs::write(self.path(&format!("{name}.key")), &certified.key).unwrap();
    }

    fn section(&self, header: &str, name: &str) -> String {
        let path = self.folder.path().display();
        format!(
            "{header}\ncertificate = \"file:{path}/{name}.crt\"\nkey = \"file:{path}/{name}.key\"\n"
        )
    }
}

fn config(upstream: &str, sections: &str) -> Config {
    let text = format!(
        r#"
        listen = "127.0.0.1:0"
        threads = 1
        [[accounts]]
        api_keys = ["{UPSTREAM_KEY}"]
        base_url = "{upstream}"
        [[keys]]
        name = "test"
        key = "{KEY}"
        {sections}
        "#
    );
    Config::parse(&text, "test", &|_: &str| None).unwrap()
}

async fn gateway(files: &Files, certified: &Certified) -> (RunningSimulator, Running) {
    files.write("a", certified);
    let simulator = Simulator::new(SimConfig::default()).spawn().await.unwrap();
    let config = config(&simulator.base_url(), &files.section("[tls]", "a"));
    (simulator, support::start(config))
}

static ALL: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

struct Client {
    trusted: Vec<CertificateDer<'static>>,
    protocols: Vec<&'static str>,
    versions: &'static [&'static SupportedProtocolVersion],
    host: &'static str,
}

impl Client {
    fn new(trusted: &[&Certified]) -> Self {
        Self {
            trusted: trusted.iter().map(|c| c.trusted.clone()).collect(),
            protocols: Vec::new(),
            versions: &ALL,
            host: "gateway.test",
        }
    }

    async fn connect(&self, gateway: &Running) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        for certificate in &self.trusted {
            roots.add(certificate.clone()).unwrap();
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(self.versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = self
            .protocols
            .iter()
            .map(|p| p.as_bytes().to_vec())
            .collect();
        let stream = TcpStream::connect(gateway.address).await?;
        let host = ServerName::try_from(self.host).unwrap();
        let connector = TlsConnector::from(Arc::new(config));
        connector.connect(host, stream).await
    }

    async fn certificate(&self, gateway: &Running) -> CertificateDer<'static> {
        let stream = self.connect(gateway).await.unwrap();
        stream.get_ref().1.peer_certificates().unwrap()[0]
            .clone()
            .into_owned()
    }
}

async fn ask(stream: TlsStream<TcpStream>, streamed: bool) -> http::Response<Incoming> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = post(OPENAI, openai_body(streamed));
    sender.send_request(request).await.unwrap()
}

#[tokio::test]
async fn both_versions_of_http_and_of_tls_are_served() {
    let (files, certified) = (Files::new(), Certified::new("gateway.test"));
    let (_simulator, gateway) = gateway(&files, &certified).await;
    for versions in [&ALL[..1], &ALL[1..]] {
        for protocols in [vec![], vec!["http/1.1"], vec!["h2"], vec!["h2", "http/1.1"]] {
            let client = Client {
                protocols,
                versions,
                ..Client::new(&[&certified])
            };
            let stream = client.connect(&gateway).await.unwrap();
            let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            assert_eq!(is_http2, client.protocols.contains(&"h2"));
            let response = if is_http2 {
                let io = TokioIo::new(stream);
                let (mut sender, connection) =
                    http2::handshake(TokioExecutor::new(), io).await.unwrap();
                tokio::spawn(connection);
                let request = over_http2(post(OPENAI, openai_body(true)));
                sender.send_request(request).await.unwrap()
            } else {
                ask(stream, true).await
            };
            let (status, _, text) = read(response).await;
            assert_eq!(status, 200);
            assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
        }
    }
}

#[tokio::test]
async fn new_certificates_are_taken_under_load_and_bad_ones_are_not() {
    let (files, first) = (Files::new(), Certified::new("gateway.test"));
    let (second, third) = (
        Certified::new("gateway.test"),
        Certified::new("gateway.test"),
    );
    let (_simulator, gateway) = gateway(&files, &first).await;
    let client = Client::new(&[&first, &second, &third]);
    // Each request is on a connection of its own, so each would notice.
    let until = async |expected: &Certified| {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let stream = client.connect(&gateway).await.unwrap();
            let served = stream.get_ref().1.peer_certificates().unwrap()[0]
                .clone()
                .into_owned();
            assert_eq!(read(ask(stream, false).await).await.0, 200);
            if served == expected.trusted {
                break;
            }
            assert!(Instant::now() < deadline, "the certificate is not taken");
        }
    };
    until(&first).await;
    let open = client.connect(&gateway).await.unwrap();
    files.write("a", &second);
    until(&second).await;
    // A certificate without its key, as when one file is written before the other.
    std::fs::write(files.path("a.crt"), &third.certificate).unwrap();
    let pause = Instant::now() + Duration::from_millis(1200);
    while Instant::now() < pause {
        assert_eq!(client.certificate(&gateway).await, second.trusted);
    }
    files.write("a", &third);
    until(&third).await;
    assert_eq!(read(ask(open, true).await).await.0, 200);
}

#[tokio::test]
async fn the_certificate_is_that_of_the_named_host() {
    let files = Files::new();
    let hosts = ["gateway.test", "*.other.test"].map(Certified::new);
    files.write("a", &hosts[0]);
    files.write("b", &hosts[1]);
    let sections = files.section("[[tls]]", "a") + &files.section("[[tls]]", "b");
    let gateway = support::start(config("http://127.0.0.1:9", &sections));
    for (host, index) in [("gateway.test", 0), ("a.other.test", 1)] {
        let client = Client {
            host,
            ..Client::new(&[&hosts[0], &hosts[1]])
        };
        assert_eq!(client.certificate(&gateway).await, hosts[index].trusted);
    }
}

#[tokio::test]
async fn a_handshake_that_is_not_made_ends_the_connection() {
    let (files, certified) = (Files::new(), Certified::new("gateway.test"));
    files.write("a", &certified);
    let mut config = config("http://127.0.0.1:9", &files.section("[tls]", "a"));
    config.timeouts.tls_handshake = Duration::from_millis(100);
    let gateway = support::start(config);
    let mut silent = TcpStream::connect(gateway.address).await.unwrap();
    let closed = tokio::time::timeout(Duration::from_secs(5), silent.read(&mut [0; 64])).await;
    assert_eq!(closed.unwrap().unwrap(), 0);
    // Plain HTTP is no handshake either, and nobody else is hurt.
    let plain = TcpStream::connect(gateway.address).await.unwrap();
    let (mut sender, connection) = http1::handshake::<_, Full<Bytes>>(TokioIo::new(plain))
        .await
        .unwrap();
    tokio::spawn(connection);
    assert!(sender.send_request(support::get("/healthz")).await.is_err());
    let client = Client::new(&[&certified]);
    assert_eq!(client.certificate(&gateway).await, certified.trusted);
}

#[test]
fn certificates_that_cannot_be_used_stop_the_start_and_say_which() {
    let (files, certified) = (Files::new(), Certified::new("gateway.test"));
    let bind = || {
        let config = config("http://127.0.0.1:9", &files.section("[tls]", "a"));
        match Server::bind(config) {
            Err(ServerError::Tls(error)) => error.to_string(),
            other => panic!("{other:?}"),
        }
    };
    assert!(bind().contains("a.crt"));
    files.write("a", &certified);
    std::fs::write(files.path("a.key"), "no key").unwrap();
    assert!(bind().contains("a.key holds no private key"));
    let other = Certified::new("gateway.test");
    std::fs::write(files.path("a.key"), &other.key).unwrap();
    let error = bind();
    assert!(error.contains("a.crt and its key"), "{error}");
    assert!(!error.contains("PRIVATE KEY"));
}
