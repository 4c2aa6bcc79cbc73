// Google's @google/genai SDK for Node.

import { GoogleGenAI } from "@google/genai";
import { QUESTION, TOOL, TOOL_DESCRIPTION, TOOL_SCHEMA, leave, serve, withVariables } from "./contract.mjs";

const TOOLS = [
  { functionDeclarations: [{ name: TOOL, description: TOOL_DESCRIPTION, parametersJsonSchema: TOOL_SCHEMA }] },
];

const client = (call) => new GoogleGenAI({ apiKey: call.api_key, httpOptions: { baseUrl: call.base_url } });

/** Leave out what the SDK says of HTTP: a date, and what is read elsewhere. */
function tidy({ sdkHttpResponse, ...answer }) {
  return answer;
}

async function chat(call) {
  const asked = { model: call.model, contents: QUESTION, config: { maxOutputTokens: 40 } };
  return tidy(await client(call).models.generateContent(asked));
}

async function stream(call) {
  const taken = [];
  for await (const chunk of await client(call).models.generateContentStream({ model: call.model, contents: QUESTION })) {
    taken.push(tidy(chunk));
  }
  return taken;
}

/** A call, its result, and the answer to that. */
async function tools(call) {
  const sdk = client(call);
  const question = { role: "user", parts: [{ text: QUESTION }] };
  const forced = { tools: TOOLS, toolConfig: { functionCallingConfig: { mode: "ANY" } } };
  const first = await sdk.models.generateContent({ model: call.model, contents: [question], config: forced });
  const parts = first.functionCalls.map(({ id, name, args }) => ({ functionResponse: { id, name, response: { args } } }));
  const turns = [question, first.candidates[0].content, { role: "user", parts }];
  const second = await sdk.models.generateContent({ model: call.model, contents: turns, config: { tools: TOOLS } });
  return [tidy(first), tidy(second)];
}

async function abort(call) {
  const leaving = new AbortController();
  const config = { abortSignal: leaving.signal };
  const chunks = await client(call).models.generateContentStream({ model: call.model, contents: QUESTION, config });
  const count = await leave(chunks);
  leaving.abort();
  return count;
}

async function count(call) {
  return tidy(await client(call).models.countTokens({ model: call.model, contents: QUESTION }));
}

async function embeddings(call) {
  return tidy(await client(call).models.embedContent({ model: "gemini-embedding-001", contents: ["one", "two"] }));
}

await serve("@google/genai", {
  chat,
  environment: withVariables({ GOOGLE_GEMINI_BASE_URL: "base_url", GEMINI_API_KEY: "api_key" }, chat),
  stream,
  tools,
  error_400: chat,
  error_429: chat,
  abort,
  count,
  embeddings,
});
