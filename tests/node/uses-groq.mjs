// Groq's SDK for Node, which adds /openai/v1 to its base URL itself.

import Groq from "groq-sdk";
import { QUESTION, TOOL, TOOL_DESCRIPTION, TOOL_SCHEMA, collect, leave, serve, withVariables } from "./contract.mjs";

const MESSAGES = [{ role: "user", content: QUESTION }];
const TOOLS = [{ type: "function", function: { name: TOOL, description: TOOL_DESCRIPTION, parameters: TOOL_SCHEMA } }];

const client = (call) => new Groq({ baseURL: call.base_url, apiKey: call.api_key });

async function chat(call) {
  return client(call).chat.completions.create({ model: call.model, messages: MESSAGES, max_tokens: 40 });
}

async function stream(call) {
  return collect(await client(call).chat.completions.create({ model: call.model, messages: MESSAGES, stream: true }));
}

async function tools(call) {
  const asked = { model: call.model, messages: MESSAGES, tools: TOOLS, tool_choice: "required" };
  return client(call).chat.completions.create(asked);
}

async function abort(call) {
  return leave(await client(call).chat.completions.create({ model: call.model, messages: MESSAGES, stream: true }));
}

await serve("groq-sdk", {
  chat,
  environment: withVariables({ GROQ_BASE_URL: "base_url", GROQ_API_KEY: "api_key" }, chat),
  stream,
  tools,
  error_400: chat,
  error_429: chat,
  abort,
});
