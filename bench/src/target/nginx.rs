//! nginx as a plain reverse proxy: nothing but relaying, set up for streams.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use super::Place;
use crate::process::{Program, find_program};

pub(super) fn find() -> anyhow::Result<PathBuf> {
    find_program("nginx").context(
        "nginx is not installed; it is what everything is compared with. On Debian or Ubuntu: \
         apt-get install nginx-light (it need not run as a service). \
         Leave it out with --targets direct,gateway,relay",
    )
}

pub(super) fn version(binary: &Path) -> String {
    Command::new(binary)
        .arg("-v")
        .output()
        .map(|output| String::from_utf8_lossy(&output.stderr).trim().to_owned())
        .unwrap_or_default()
}

pub(super) fn program(
    binary: &Path,
    place: Place<'_>,
    address: SocketAddr,
    master: bool,
) -> anyhow::Result<Program> {
    let folder = place.folder.join(format!("nginx-{}", address.port()));
    fs::create_dir_all(&folder)?;
    let file = folder.join("nginx.conf");
    fs::write(
        &file,
        configuration(&folder, place.upstream, address, master),
    )?;
    Ok(Program::new([
        binary.as_os_str().to_owned(),
        "-c".into(),
        file.into(),
        "-e".into(),
        "stderr".into(),
    ]))
}

/// The limits on requests per connection are lifted, so that nobody reconnects inside a run.
fn configuration(folder: &Path, upstream: SocketAddr, address: SocketAddr, master: bool) -> String {
    let folder = folder.display();
    // As root, nginx would give its worker to a user who cannot enter the folder.
    let user = if fs::metadata("/proc/self").is_ok_and(|own| is_root(&own)) {
        "user root root;"
    } else {
        ""
    };
    let master = if master { "on" } else { "off" };
    format!(
        "{user}
daemon off;
master_process {master};
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 24576; }}
http {{
    access_log off;
    tcp_nodelay on;
    keepalive_requests 100000000;
    keepalive_timeout 600s;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    upstream stub {{
        server {upstream};
        keepalive 256;
        keepalive_requests 100000000;
        keepalive_timeout 600s;
    }}
    server {{
        listen {address} backlog=4096;
        location / {{
            proxy_pass http://stub;
            proxy_http_version 1.1;
            proxy_set_header Connection \"\";
            proxy_buffering off;
            proxy_read_timeout 600s;
        }}
    }}
}}
"
    )
}

fn is_root(own: &fs::Metadata) -> bool {
    std::os::unix::fs::MetadataExt::uid(own) == 0
}
