//! Lets the model call a function: `cargo run -p bailian --example tools`
#![expect(clippy::print_stdout, reason = "an example shows its answer")]

use bailian::{ChatRequest, Client, Message, ToolDefinition};
use serde_json::json;

fn weather(city: &str) -> String {
    format!("22 degrees and sunny in {city}")
}

#[tokio::main]
async fn main() -> Result<(), bailian::Error> {
    let client = Client::from_env_with_dotenv()?;
    let tool = ToolDefinition::function(
        "get_weather",
        "Looks up the weather of a city.",
        json!({
            "type": "object",
            "properties": { "city": { "type": "string" } },
            "required": ["city"],
        }),
    );
    let mut request = ChatRequest::new(
        "qwen-plus",
        [Message::user("What is the weather in Hangzhou?")],
    )
    .tools([tool]);
    loop {
        let answer = client.chat().create(&request).await?;
        let calls = answer.tool_calls();
        if calls.is_empty() {
            println!("{}", answer.text());
            return Ok(());
        }
        // The model sees its own calls again, and a result for each.
        request.messages.extend(answer.message().cloned());
        for call in calls {
            // A model can write arguments that are no JSON; it is told so and tries again.
            let result = match call.arguments() {
                Ok(arguments) => weather(arguments["city"].as_str().unwrap_or("nowhere")),
                Err(error) => format!("the arguments are not JSON: {error}"),
            };
            request
                .messages
                .push(Message::tool(call.id.as_str(), result));
        }
    }
}
