//! One request and its answer on the screen.

use std::io::Write as _;
use std::time::Instant;

use anyhow::Context as _;
use bailian::{ChatRequest, Client};
use bailian_wire::chat::{ChatResponse, FinishReason};
use bailian_wire::stream::Accumulator;
use futures_util::StreamExt as _;

use super::printer::Printer;
use crate::failure::{self, Failure};

/// How an answer is fetched and shown.
#[derive(Clone, Copy, Debug)]
pub(super) enum Way {
    /// As one JSON object.
    Json,
    /// As text.
    Text {
        /// Whether it is shown as it comes.
        stream: bool,
        /// Whether standard output is a terminal: thinking is shown there only.
        on_terminal: bool,
        /// Whether the line about tokens is left out.
        quiet: bool,
    },
}

/// Asks, shows the answer and returns it.
///
/// # Cancel safety
///
/// Dropping the future cancels the request; what was shown stays.
pub(super) async fn ask(
    client: &Client,
    request: &ChatRequest,
    way: Way,
) -> Result<ChatResponse, Failure> {
    let started = Instant::now();
    match way {
        Way::Json => {
            let response = client.chat().create(request).await?.into_inner();
            let mut json = serde_json::to_string(&response)
                .context("cannot write the answer as JSON")
                .map_err(Failure::Run)?;
            json.push('\n');
            failure::written(std::io::stdout().write_all(json.as_bytes()))?;
            Ok(response)
        }
        Way::Text {
            stream,
            on_terminal,
            quiet,
        } => {
            let mut printer = Printer::new(std::io::stdout(), on_terminal);
            let response = if stream {
                streamed(client, request, &mut printer).await?
            } else {
                let response = client.chat().create(request).await?.into_inner();
                failure::written(printer.response(&response))?;
                response
            };
            failure::written(printer.end())?;
            if response.finish_reason() == Some(&FinishReason::Length) {
                eprintln!("(cut at the token limit; --max-tokens sets it)");
            }
            if !quiet {
                eprintln!("{}", summary(request, &response, started));
            }
            Ok(response)
        }
    }
}

async fn streamed<W: std::io::Write>(
    client: &Client,
    request: &ChatRequest,
    printer: &mut Printer<W>,
) -> Result<ChatResponse, Failure> {
    let mut stream = client.chat().stream(request).await?;
    let mut answer = Accumulator::new();
    while let Some(event) = stream.next().await {
        let event = match event {
            Ok(event) => event,
            Err(error) => {
                // The text so far stays on the screen, and the error begins on its own line.
                failure::written(printer.end())?;
                return Err(error.into());
            }
        };
        failure::written(printer.event(&event))?;
        answer.push(event);
    }
    Ok(answer.finish())
}

/// One line about what the answer took.
fn summary(request: &ChatRequest, response: &ChatResponse, started: Instant) -> String {
    let model = response.model.as_deref().unwrap_or(&request.model);
    let seconds = started.elapsed().as_secs_f64();
    let tokens = response.usage.as_ref().map_or_else(
        || "no token counts".to_owned(),
        |usage| {
            let thinking = usage
                .reasoning_tokens
                .filter(|tokens| *tokens > 0)
                .map(|tokens| format!(" ({tokens} thinking)"))
                .unwrap_or_default();
            format!(
                "{} tokens in, {} out{thinking}",
                usage.input_tokens, usage.output_tokens
            )
        },
    );
    format!("[{model}: {tokens}, {seconds:.1} s]")
}
