//! Prints an answer while it is written: `cargo run -p bailian --example stream`
#![expect(clippy::print_stdout, reason = "an example shows its answer")]

use std::io::Write as _;

use bailian::{ChatEvent, ChatRequest, Client, Message};
use futures_util::StreamExt as _;

#[tokio::main]
async fn main() -> Result<(), bailian::Error> {
    let client = Client::from_env_with_dotenv()?;
    let request = ChatRequest::new("qwen-plus", [Message::user("Tell a story in three lines.")]);
    let mut stream = client.chat().stream(&request).await?;
    while let Some(event) = stream.next().await {
        match event? {
            ChatEvent::TextDelta { text, .. } => {
                print!("{text}");
                // Nothing is lost if a terminal cannot be flushed.
                let _ = std::io::stdout().flush();
            }
            ChatEvent::Finished { reason, .. } => println!("\n({})", reason.as_str()),
            _ => {}
        }
    }
    Ok(())
}
