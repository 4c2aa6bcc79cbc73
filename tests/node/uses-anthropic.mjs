// The official Anthropic SDK for Node.

import Anthropic from "@anthropic-ai/sdk";
import { QUESTION, TOOL, TOOL_DESCRIPTION, TOOL_SCHEMA, collect, leave, serve, withVariables } from "./contract.mjs";

const MESSAGES = [{ role: "user", content: QUESTION }];
const TOOLS = [{ name: TOOL, description: TOOL_DESCRIPTION, input_schema: TOOL_SCHEMA }];

const client = (call) => new Anthropic({ baseURL: call.base_url, apiKey: call.api_key });

async function chat(call) {
  return client(call).messages.create({ model: call.model, messages: MESSAGES, max_tokens: 40 });
}

async function stream(call) {
  const asked = { model: call.model, messages: MESSAGES, max_tokens: 200, stream: true };
  return collect(await client(call).messages.create(asked));
}

async function stream_helper(call) {
  return client(call).messages.stream({ model: call.model, messages: MESSAGES, max_tokens: 200 }).finalMessage();
}

/** A call, its result, and the answer to that. */
async function tools(call) {
  const asked = { model: call.model, max_tokens: 500, tools: TOOLS };
  const sdk = client(call);
  const first = await sdk.messages.create({ ...asked, messages: MESSAGES, tool_choice: { type: "any" } });
  const done = first.content
    .filter((part) => part.type === "tool_use")
    .map((part) => ({ type: "tool_result", tool_use_id: part.id, content: JSON.stringify(part.input) }));
  const turns = [...MESSAGES, { role: "assistant", content: first.content }, { role: "user", content: done }];
  return [first, await sdk.messages.create({ ...asked, messages: turns })];
}

async function abort(call) {
  const asked = { model: call.model, messages: MESSAGES, max_tokens: 1000, stream: true };
  return leave(await client(call).messages.create(asked));
}

async function count(call) {
  return client(call).messages.countTokens({ model: call.model, messages: MESSAGES });
}

await serve("@anthropic-ai/sdk", {
  chat,
  environment: withVariables({ ANTHROPIC_BASE_URL: "base_url", ANTHROPIC_API_KEY: "api_key" }, chat),
  stream,
  stream_helper,
  tools,
  error_400: chat,
  error_429: chat,
  abort,
  count,
});
