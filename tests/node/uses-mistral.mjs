// Mistral's SDK for Node, which adds /v1 to its server URL itself.

import { Mistral } from "@mistralai/mistralai";
import { QUESTION, TOOL, TOOL_DESCRIPTION, TOOL_SCHEMA, collect, leave, serve } from "./contract.mjs";

const MESSAGES = [{ role: "user", content: QUESTION }];
const TOOLS = [{ type: "function", function: { name: TOOL, description: TOOL_DESCRIPTION, parameters: TOOL_SCHEMA } }];

const client = (call) => new Mistral({ serverURL: call.base_url, apiKey: call.api_key });

async function chat(call) {
  return client(call).chat.complete({ model: call.model, messages: MESSAGES, maxTokens: 40 });
}

async function stream(call) {
  return collect(await client(call).chat.stream({ model: call.model, messages: MESSAGES }));
}

async function tools(call) {
  return client(call).chat.complete({ model: call.model, messages: MESSAGES, tools: TOOLS, toolChoice: "required" });
}

async function abort(call) {
  return leave(await client(call).chat.stream({ model: call.model, messages: MESSAGES }));
}

await serve("@mistralai/mistralai", { chat, stream, tools, error_400: chat, error_429: chat, abort });
