// The official OpenAI SDK for Node.

import OpenAI from "openai";
import { QUESTION, TOOL, TOOL_DESCRIPTION, TOOL_SCHEMA, collect, leave, serve, withVariables } from "./contract.mjs";

const MESSAGES = [{ role: "user", content: QUESTION }];
const TOOLS = [{ type: "function", function: { name: TOOL, description: TOOL_DESCRIPTION, parameters: TOOL_SCHEMA } }];

const client = (call) => new OpenAI({ baseURL: call.base_url, apiKey: call.api_key });

async function chat(call) {
  return client(call).chat.completions.create({ model: call.model, messages: MESSAGES, max_tokens: 40 });
}

async function stream(call) {
  const asked = { model: call.model, messages: MESSAGES, stream: true, stream_options: { include_usage: true } };
  return collect(await client(call).chat.completions.create(asked));
}

/** Usage is not asked for. */
async function stream_plain(call) {
  return collect(await client(call).chat.completions.create({ model: call.model, messages: MESSAGES, stream: true }));
}

/** A call, its result, and the answer to that. */
async function tools(call) {
  const asked = { model: call.model, tools: TOOLS };
  const sdk = client(call);
  const first = await sdk.chat.completions.create({ ...asked, messages: MESSAGES, tool_choice: "required" });
  const wanted = first.choices[0].message;
  const done = wanted.tool_calls.map((made) => ({ role: "tool", tool_call_id: made.id, content: "{}" }));
  return [first, await sdk.chat.completions.create({ ...asked, messages: [...MESSAGES, wanted, ...done] })];
}

async function abort(call) {
  return leave(await client(call).chat.completions.create({ model: call.model, messages: MESSAGES, stream: true }));
}

async function responses_stream(call) {
  return collect(await client(call).responses.create({ model: call.model, input: QUESTION, stream: true }));
}

async function embeddings(call) {
  return client(call).embeddings.create({ model: "text-embedding-3-small", input: ["one", "two"] });
}

/** A file from a stream: sent without a length. */
async function upload(call) {
  async function* lines() {
    for (let number = 0; number < 1000; number += 1) yield Buffer.from(`{"line": ${number}}\n`);
  }
  const file = await OpenAI.toFile(lines(), "lines.jsonl");
  const sdk = client(call);
  const stored = await sdk.files.create({ file, purpose: "batch" });
  const content = await (await sdk.files.content(stored.id)).text();
  return { bytes: stored.bytes, content };
}

await serve("openai", {
  chat,
  environment: withVariables({ OPENAI_BASE_URL: "base_url", OPENAI_API_KEY: "api_key" }, chat),
  stream,
  stream_plain,
  tools,
  error_400: chat,
  error_429: chat,
  abort,
  responses_stream,
  embeddings,
  upload,
});
