//! Shows a model's thinking before its answer: `cargo run -p bailian --example thinking`
#![expect(clippy::print_stdout, reason = "an example shows its answer")]

use bailian::{ChatEvent, ChatRequest, Client, Message};
use futures_util::StreamExt as _;

#[tokio::main]
async fn main() -> Result<(), bailian::Error> {
    let client = Client::from_env_with_dotenv()?;
    let request = ChatRequest::new(
        "qwen-plus",
        [Message::user("Which is larger, 9.11 or 9.9?")],
    )
    .enable_thinking(true)
    .thinking_budget(512_u64);
    let mut stream = client.chat().stream(&request).await?;
    let mut thinks = false;
    while let Some(event) = stream.next().await {
        match event? {
            ChatEvent::ReasoningDelta { text, .. } => {
                if !std::mem::replace(&mut thinks, true) {
                    println!("--- thinking");
                }
                print!("{text}");
            }
            ChatEvent::TextDelta { text, .. } => {
                if std::mem::take(&mut thinks) {
                    println!("\n--- answer");
                }
                print!("{text}");
            }
            _ => {}
        }
    }
    println!();
    Ok(())
}
