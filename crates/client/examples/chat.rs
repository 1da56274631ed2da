//! Asks one question: `DASHSCOPE_API_KEY=sk-… cargo run -p bailian --example chat -- "Who are you?"`
#![expect(clippy::print_stdout, reason = "an example shows its answer")]

use bailian::{ChatRequest, Client, Message};

#[tokio::main]
async fn main() -> Result<(), bailian::Error> {
    let question = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "Who are you?".to_owned());
    let client = Client::from_env_with_dotenv()?;
    let request = ChatRequest::new(
        "qwen-plus",
        [
            Message::system("Answer in one sentence."),
            Message::user(question),
        ],
    );
    let answer = client.chat().create(&request).await?;
    println!("{}", answer.text());
    if let Some(usage) = &answer.usage {
        println!(
            "({} tokens, request {})",
            usage.total_tokens,
            answer.request_id().unwrap_or("?")
        );
    }
    Ok(())
}
