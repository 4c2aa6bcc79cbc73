// Ollama's SDK for Node: its native API of JSON lines.

import { Ollama } from "ollama";
import { QUESTION, TOOL, TOOL_DESCRIPTION, TOOL_SCHEMA, collect, leave, serve } from "./contract.mjs";

const MESSAGES = [{ role: "user", content: QUESTION }];
const TOOLS = [{ type: "function", function: { name: TOOL, description: TOOL_DESCRIPTION, parameters: TOOL_SCHEMA } }];

const client = (call) => new Ollama({ host: call.base_url, headers: { authorization: `Bearer ${call.api_key}` } });

async function chat(call) {
  return client(call).chat({ model: call.model, messages: MESSAGES, options: { num_predict: 40 } });
}

async function stream(call) {
  return collect(await client(call).chat({ model: call.model, messages: MESSAGES, stream: true }));
}

async function tools(call) {
  return client(call).chat({ model: call.model, messages: MESSAGES, tools: TOOLS });
}

async function abort(call) {
  const sdk = client(call);
  const pieces = await sdk.chat({ model: call.model, messages: MESSAGES, stream: true });
  const count = await leave(pieces);
  sdk.abort();
  return count;
}

await serve("ollama", { chat, stream, tools, error_400: chat, error_429: chat, abort });
