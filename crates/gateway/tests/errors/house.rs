//! A gateway that many cells share: in it, every cell has a key, a route and an account that
//! goes wrong of its own.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use bailian_gateway::upstream::Upstream;
use bailian_gateway::{Config, Gateway};
use bailian_ledger::{Filter, Page, Reader, Record, Sqlite};
use bailian_tenants::KeyId;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::Value;
use tempfile::TempDir;
use tower::ServiceExt as _;
use uuid::Uuid;

use crate::cell::Cell;
use crate::scripted::{RIGHT, Scripted, wrong};

const TOKEN: &str = "operator-0123456789abcdef";

/// Whether another target stands behind the one that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behind {
    Another,
    /// And a stream that breaks does not go on.
    None,
}

/// One of the gateways.
pub(crate) struct House {
    router: Router,
    folder: TempDir,
}

/// What a caller got.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    /// The gateway's id of the request, as in the ledger.
    pub(crate) fn id(&self) -> Uuid {
        self.headers["x-request-id"]
            .to_str()
            .unwrap()
            .parse()
            .unwrap()
    }
}

impl House {
    pub(crate) fn new(cells: &[Cell], behind: Behind) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut text = format!(
            "threads = 1\n[admin]\ntoken = \"{TOKEN}\"\n[data]\nfolder = \"{}\"\n{}",
            folder.path().display(),
            account("right", RIGHT),
        );
        if behind == Behind::None {
            text.push_str("[repairs]\nresume = false\nquota_code = false\n");
        }
        for place in 0..cells.len() {
            text.push_str(&account(&account_of(place), &wrong(place)));
            let fallbacks = match behind {
                Behind::Another => "fallbacks = [{ account = \"right\", model = \"qwen-plus\" }]\n",
                Behind::None => "",
            };
            let _infallible = write!(
                text,
                "[[routes]]\nmodel = \"{model}\"\ntargets = [{{ account = \"{account}\", model = \"qwen-plus\" }}]\n{fallbacks}\
                 [[keys]]\nname = \"{model}\"\ntenant = \"{model}\"\nkey = \"{key}\"\n\
                 settings = {{ limits = {{ rpm = 1000 }}, budgets = [{{ period = \"total\", tokens = 1000000, money = {{ amount = \"100\", currency = \"CNY\" }} }}] }}\n",
                model = model_of(place),
                account = account_of(place),
                key = key_of(place),
            );
        }
        let config = Config::parse(&text, "test", &|_: &str| None).unwrap();
        let upstream = Scripted::new(cells);
        let gateway = Gateway::builder(config).upstream(Arc::new(upstream) as Arc<dyn Upstream>);
        Self {
            router: gateway.build().unwrap().router(),
            folder,
        }
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await;
        let (head, body) = response.unwrap_or_else(|never| match never {}).into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Answer {
            status: head.status,
            headers: head.headers,
            text: String::from_utf8(bytes.to_vec()).unwrap(),
        }
    }

    /// Whether the target of a cell is asked last from now on.
    pub(crate) async fn is_open(&self, place: usize) -> bool {
        let ready = Request::get("/readyz").body(Body::empty()).unwrap();
        let ready = self.send(ready).await;
        ready
            .text
            .contains(&format!("{}/qwen-plus", account_of(place)))
    }

    /// How the limits and budgets of a cell's key stand.
    pub(crate) async fn standing(&self, place: usize) -> Value {
        let key = KeyId::of_name(&model_of(place));
        let request = Request::get(format!("/admin/v1/keys/{key}/usage"))
            .header("authorization", format!("Bearer {TOKEN}"));
        let answer = self.send(request.body(Body::empty()).unwrap()).await;
        let usage: Value = serde_json::from_str(&answer.text).unwrap();
        let levels = usage["levels"].as_array();
        let of_key = levels.and_then(|levels| levels.iter().find(|it| it["level"] == "key"));
        of_key.unwrap_or_else(|| panic!("{usage}")).clone()
    }

    /// Closes it, and reads its ledger.
    pub(crate) fn records(self) -> HashMap<Uuid, Record> {
        drop(self.router);
        let mut reader = Reader::new(Sqlite::new(self.folder.path().join("ledger.db")));
        let mut page = Page::first(Page::MOST);
        let mut all = HashMap::new();
        loop {
            let records = reader.records(&Filter::default(), page).unwrap();
            let Some(last) = records.last() else {
                return all;
            };
            page = page.after(last.cursor());
            all.extend(records.into_iter().map(|record| (record.begin.id, record)));
        }
    }
}

fn account(name: &str, base: &str) -> String {
    format!(
        "[[accounts]]\nname = \"{name}\"\napi_keys = [\"sk-up-0001\"]\nbase_url = \"{base}\"\nforward_headers = [\"x-sim-*\"]\n[[accounts.limits]]\nmodel = \"*\"\nrequests = [\"100000/1s\"]\nramp = false\n"
    )
}

/// The account of a cell, which goes wrong.
pub(crate) fn account_of(place: usize) -> String {
    format!("wrong-{place}")
}

/// The model by which callers reach it.
pub(crate) fn model_of(place: usize) -> String {
    format!("cell-{place}")
}

pub(crate) fn key_of(place: usize) -> String {
    format!("sk-bl-errors-{place:04}")
}
