//! A conversation on a terminal.

use anyhow::Context as _;
use bailian::{ChatRequest, Client, Message};
use bailian_wire::catalog::Catalog;
use rustyline::DefaultEditor;
use rustyline::error::ReadlineError;
use tokio::runtime::Runtime;

use super::answer::{self, Way};
use crate::failure::Failure;

const HELP: &str = "\
/help          shows this
/model [NAME]  shows or changes the model
/reset         forgets the conversation
/exit          leaves, as Ctrl-D does
Ctrl-C cancels an answer.";

/// Asks and answers until the user leaves.
pub(super) fn run(
    runtime: &Runtime,
    client: &Client,
    request: ChatRequest,
    way: Way,
) -> Result<(), Failure> {
    let mut editor = DefaultEditor::new()
        .context("cannot use this terminal")
        .map_err(Failure::Run)?;
    let mut conversation = Conversation::new(request);
    eprintln!("{} · /help lists the commands", conversation.request.model);
    loop {
        let line = match editor.readline("> ") {
            Ok(line) => line,
            Err(ReadlineError::Interrupted) => continue,
            Err(ReadlineError::Eof) => return Ok(()),
            Err(error) => {
                let error = anyhow::Error::new(error).context("cannot read from the terminal");
                return Err(Failure::Run(error));
            }
        };
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        // A line that cannot be remembered can still be answered.
        drop(editor.add_history_entry(line));
        match conversation.command(line) {
            Step::Ask => conversation.ask(runtime, client, way, line),
            Step::Say(text) => eprintln!("{text}"),
            Step::Leave => return Ok(()),
        }
    }
}

/// The turns so far, in the request that the next question is added to.
#[derive(Debug)]
struct Conversation {
    request: ChatRequest,
    /// Messages that stay when the conversation is forgotten.
    kept: usize,
}

/// What a line asks for.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Ask,
    Say(String),
    Leave,
}

impl Conversation {
    fn new(request: ChatRequest) -> Self {
        Self {
            kept: request.messages.len(),
            request,
        }
    }

    fn command(&mut self, line: &str) -> Step {
        let (command, argument) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        match (command, argument.trim()) {
            ("/help", _) => Step::Say(HELP.to_owned()),
            ("/exit" | "/quit", _) => Step::Leave,
            ("/reset", _) => {
                self.request.messages.truncate(self.kept);
                Step::Say("the conversation is forgotten".to_owned())
            }
            ("/model", "") => Step::Say(self.request.model.clone()),
            ("/model", name) => {
                name.clone_into(&mut self.request.model);
                let known = Catalog::embedded().model(name).is_some();
                let doubt = if known {
                    ""
                } else {
                    " (not in the catalogue; asked all the same)"
                };
                Step::Say(format!("now {name}{doubt}"))
            }
            // A path or a date may begin with a slash; only a lone word is taken for a mistake.
            (word, "") if word.starts_with('/') && !word[1..].contains('/') => {
                Step::Say(format!("{word} is no command; /help lists them"))
            }
            _ => Step::Ask,
        }
    }

    fn ask(&mut self, runtime: &Runtime, client: &Client, way: Way, question: &str) {
        self.request.messages.push(Message::user(question));
        let answered = runtime.block_on(async {
            tokio::select! {
                answered = answer::ask(client, &self.request, way) => Some(answered),
                _ = tokio::signal::ctrl_c() => None,
            }
        });
        match answered {
            Some(Ok(response)) => self
                .request
                .messages
                .push(Message::assistant(response.text())),
            Some(Err(failure)) => {
                failure.report();
                self.request.messages.pop();
            }
            None => {
                eprintln!("(cancelled)");
                self.request.messages.pop();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conversation() -> Conversation {
        Conversation::new(ChatRequest::new(
            "qwen-plus",
            [Message::system("Be short.")],
        ))
    }

    #[test]
    fn resetting_keeps_the_system_message() {
        let mut conversation = conversation();
        conversation.request.messages.push(Message::user("你好"));
        assert!(matches!(conversation.command("/reset"), Step::Say(_)));
        assert_eq!(conversation.request.messages.len(), 1);
        assert_eq!(conversation.request.messages[0].text(), "Be short.");
    }

    #[test]
    fn the_model_can_be_changed() {
        let mut conversation = conversation();
        assert_eq!(
            conversation.command("/model"),
            Step::Say("qwen-plus".to_owned())
        );
        assert_eq!(
            conversation.command("/model qwen-max"),
            Step::Say("now qwen-max".to_owned())
        );
        assert_eq!(conversation.request.model, "qwen-max");
    }

    #[test]
    fn a_mistyped_command_is_not_sent_to_the_model() {
        assert!(matches!(conversation().command("/rest"), Step::Say(_)));
        assert_eq!(conversation().command("/exit"), Step::Leave);
    }

    #[test]
    fn text_that_begins_with_a_slash_is_a_question() {
        assert_eq!(conversation().command("/etc/hosts"), Step::Ask);
        assert_eq!(conversation().command("/usr is what?"), Step::Ask);
    }
}
