//! `bailian demo`: a gateway in front of a simulator, in one process and without a key.

use std::net::{Ipv4Addr, SocketAddr};

use bailian_gateway::config::DataConfig;
use bailian_gateway::{Config, Server, ServerError};
use bailian_sim::config::Speed;
use bailian_sim::{SimConfig, Simulator};
use secrecy::ExposeSecret as _;
use serde_json::json;

use crate::data::Temporary;
use crate::failure::Failure;
use crate::listen;
use crate::serve::{failure, make_key, runtime};
use crate::shutdown::Signals;

/// Where the demo listens unless another program is there.
const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Where the gateway listens; port 0 takes a free one [default: 127.0.0.1:8080, or a free port
    /// when that is taken].
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<SocketAddr>,
    /// Prints addresses and key as one line of JSON, for scripts.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    runtime()?.block_on(async {
        let signals = Signals::listen().map_err(Failure::run)?;
        let mut settings = SimConfig::default();
        settings.speed = Speed::like_a_model();
        let simulator = Simulator::new(settings)
            .spawn()
            .await
            .map_err(Failure::run)?;
        let upstream = simulator.base_url();
        let key = make_key();
        let mut config =
            Config::for_base_url(&upstream, "sk-demo".into(), key.clone()).map_err(Failure::run)?;
        let data = Temporary::new();
        config.data = Some(DataConfig::in_folder(data.path()));
        let admin_token = make_key();
        config.admin_token = Some(admin_token.clone());
        // What is said to the simulator by header shall reach it.
        for account in &mut config.accounts {
            account.forward_headers.push("x-sim-*".to_owned());
        }
        let server = bind(config, arguments.listen).map_err(failure)?;
        let gateway = listen::local_url(server.local_addr());
        let (key, token) = (key.expose_secret(), admin_token.expose_secret());
        if arguments.json {
            let line = json!({
                "gateway": gateway,
                "simulator": upstream,
                "dashboard": null,
                "api_key": key,
                "admin_token": token,
            });
            println!("{line}");
        } else {
            println!("{}", welcome(&gateway, &upstream, key, token));
        }
        listen::announce(server.local_addr());
        match signals.serve(|stop| server.run(stop)).await {
            Some(outcome) => outcome.map_err(failure),
            None => Ok(()),
        }
    })
}

/// Binds the wanted address, or the usual one and else any.
fn bind(mut config: Config, wanted: Option<SocketAddr>) -> Result<Server, ServerError> {
    config.listen = wanted.unwrap_or(DEFAULT_LISTEN);
    match Server::bind(config.clone()) {
        Err(ServerError::Bind { .. }) if wanted.is_none() => {
            config.listen.set_port(0);
            Server::bind(config)
        }
        bound => bound,
    }
}

/// What a newcomer can paste.
fn welcome(gateway: &str, simulator: &str, key: &str, token: &str) -> String {
    format!(
        r#"A gateway in front of a simulated Model Studio. Nothing leaves this machine; Ctrl-C ends it.

  gateway    {gateway}
  simulator  {simulator}
  API key    {key}

Ask it:

curl -sN {gateway}/v1/chat/completions \
  -H "Authorization: Bearer {key}" \
  -H "Content-Type: application/json" \
  -d '{{"model": "qwen-plus", "stream": true, "messages": [{{"role": "user", "content": "用一句话介绍杭州。"}}]}}'

Or point a client at it:

OpenAI:         export OPENAI_BASE_URL={gateway}/v1 OPENAI_API_KEY={key}
Anthropic:      export ANTHROPIC_BASE_URL={gateway}/anthropic ANTHROPIC_API_KEY={key}
DashScope 2.x:  export DASHSCOPE_BASE_URL={gateway}/api/v1 DASHSCOPE_API_KEY={key}
DashScope 1.x:  export DASHSCOPE_HTTP_BASE_URL={gateway}/api/v1 DASHSCOPE_API_KEY={key}
bailian chat:   DASHSCOPE_BASE_URL={gateway} DASHSCOPE_API_KEY={key} bailian chat

As its operator, see what was used and what it would have cost, and make keys with limits and budgets:

export BAILIAN_ADMIN_URL={gateway} BAILIAN_ADMIN_TOKEN={token}
bailian usage
bailian records
bailian tenants create 研发部
bailian keys create app --tenant 研发部 --rpm 60 --budget day=5CNY

What the gateway knows of each model's limits:

curl -s {gateway}/admin/v1/lanes -H "Authorization: Bearer {token}"
"#
    )
}
