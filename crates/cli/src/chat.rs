//! `bailian chat`: one question, or a conversation.

mod answer;
mod printer;
mod session;

use std::io::{IsTerminal as _, Read as _};
use std::num::NonZeroU32;

use anyhow::Context as _;
use bailian::{ChatRequest, Client, Dialect, Message, RequestOptions};

use self::answer::Way;
use crate::failure::Failure;

/// Asked when neither the command line nor the configuration names a model.
const DEFAULT_MODEL: &str = "qwen-plus";

#[derive(Debug, clap::Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch of the command line"
)]
pub(crate) struct Arguments {
    /// The question; `-` stands for standard input. Without one, the question is what is piped in,
    /// or a conversation begins on a terminal.
    prompt: Vec<String>,
    /// The model [default: DASHSCOPE_DEFAULT_MODEL, else qwen-plus].
    #[arg(short, long)]
    model: Option<String>,
    /// Tells the model who it is and how to answer.
    #[arg(long, value_name = "TEXT")]
    system: Option<String>,
    /// Shows the answer as it comes; the default on a terminal.
    #[arg(long, overrides_with = "no_stream")]
    stream: bool,
    /// Shows the answer when it is complete.
    #[arg(long)]
    no_stream: bool,
    /// Prints the whole answer as one JSON object.
    #[arg(long, conflicts_with = "stream")]
    json: bool,
    /// Lets the model think before it answers.
    #[arg(long, overrides_with = "no_thinking")]
    thinking: bool,
    /// Keeps the model from thinking.
    #[arg(long)]
    no_thinking: bool,
    /// The most tokens of thinking.
    #[arg(long, value_name = "TOKENS")]
    thinking_budget: Option<NonZeroU32>,
    /// The most tokens of the answer.
    #[arg(long, value_name = "TOKENS")]
    max_tokens: Option<NonZeroU32>,
    /// From 0 to below 2; higher is more varied.
    #[arg(long, value_name = "NUMBER")]
    temperature: Option<f64>,
    /// From above 0 to 1.
    #[arg(long, value_name = "NUMBER")]
    top_p: Option<f64>,
    /// For repeatable answers.
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// Lets the model search the web.
    #[arg(long)]
    search: bool,
    /// The protocol to speak: native or openai [default: DASHSCOPE_PROTOCOL, else native].
    #[arg(long)]
    protocol: Option<Dialect>,
    /// Sends the request even if the catalogue says that the model cannot take it.
    #[arg(long)]
    no_validate: bool,
    /// Leaves out the line about tokens.
    #[arg(short, long)]
    quiet: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let question = arguments.question()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")
        .map_err(Failure::Run)?;
    // The client's timers belong to a runtime from the start.
    let client = runtime.block_on(async { arguments.client() })?;
    let way = arguments.way(&client);
    match question {
        Some(question) => {
            let request = arguments.request(&client).message(Message::user(question));
            runtime
                .block_on(answer::ask(&client, &request, way))
                .map(drop)
        }
        None => session::run(&runtime, &client, arguments.request(&client), way),
    }
}

impl Arguments {
    /// The prompt of the command line or of a pipe; `None` asks for a conversation.
    fn question(&self) -> Result<Option<String>, Failure> {
        let from_stdin = self.prompt.iter().any(|word| word == "-");
        if !from_stdin && !self.prompt.is_empty() {
            return Ok(Some(self.prompt.join(" ")));
        }
        if !from_stdin && std::io::stdin().is_terminal() {
            return if self.json {
                Err(Failure::usage(anyhow::anyhow!(
                    "--json needs a prompt; add one"
                )))
            } else {
                Ok(None)
            };
        }
        let mut piped = String::new();
        std::io::stdin()
            .read_to_string(&mut piped)
            .context("cannot read the prompt from standard input; it has to be UTF-8 text")
            .map_err(Failure::Usage)?;
        let words: Vec<&str> = if self.prompt.is_empty() {
            vec![piped.trim_end()]
        } else {
            self.prompt
                .iter()
                .map(|word| if word == "-" { piped.trim_end() } else { word })
                .collect()
        };
        let question = words.join(" ");
        if question.trim().is_empty() {
            let problem = "the prompt is empty; write it after `bailian chat`, or pipe it in";
            return Err(Failure::usage(anyhow::anyhow!(problem)));
        }
        Ok(Some(question))
    }

    fn client(&self) -> Result<Client, Failure> {
        let mut builder = Client::builder().dotenv(true);
        if let Some(protocol) = self.protocol {
            builder = builder.protocol(protocol);
        }
        let options = RequestOptions::new().validate(!self.no_validate);
        Ok(builder.options(options).build()?)
    }

    fn way(&self, client: &Client) -> Way {
        let on_terminal = std::io::stdout().is_terminal();
        let default = client.config().enable_streaming.unwrap_or(on_terminal);
        if self.json {
            Way::Json
        } else {
            let stream = (default || self.stream) && !self.no_stream;
            Way::Text {
                stream,
                on_terminal,
                quiet: self.quiet,
            }
        }
    }

    /// The request without the question.
    fn request(&self, client: &Client) -> ChatRequest {
        let configured = client.config().default_model.as_deref();
        let model = self
            .model
            .as_deref()
            .or(configured)
            .unwrap_or(DEFAULT_MODEL);
        let system = self
            .system
            .iter()
            .map(|text| Message::system(text.as_str()));
        let mut request = ChatRequest::new(model, system);
        if self.thinking || self.thinking_budget.is_some() {
            request = request.enable_thinking(true);
        }
        if self.no_thinking {
            request = request.enable_thinking(false);
        }
        if self.search {
            request = request.enable_search(true);
        }
        request.thinking_budget = self.thinking_budget.map(|tokens| tokens.get().into());
        request.max_tokens = self.max_tokens.map(|tokens| tokens.get().into());
        request.temperature = self.temperature;
        request.top_p = self.top_p;
        request.seed = self.seed;
        request
    }
}
