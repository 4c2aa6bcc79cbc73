// The official OpenAI SDK for Node as a client. Usage: node sdk.mjs BASE_URL [CALL…]
//
// Each call prints one JSON line: what the SDK made of the answer, and for every HTTP exchange below it the SHA-256 of
// the bodies as they passed through fetch (the response after fetch has undone its content-encoding).
// It exits with 1 when a call failed that should not have.

import { createHash } from "node:crypto";
import OpenAI from "openai";

const [baseURL, ...wanted] = process.argv.slice(2);
const MODEL = "gpt-4o-mini";
const QUESTION = [{ role: "user", content: "Name three rivers. Schöne Grüße 👋" }];
const TOOLS = [
  {
    type: "function",
    function: {
      name: "get_weather",
      description: "Weather at a place",
      parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
    },
  },
];

/** A stream that hashes what passes; `note` gets the digest and the size once the end was reached. */
function hashing(note) {
  const hash = createHash("sha256");
  let size = 0;
  return new TransformStream({
    transform(chunk, controller) {
      hash.update(chunk);
      size += chunk.length;
      controller.enqueue(chunk);
    },
    flush() {
      note(hash.digest("hex"), size);
    },
  });
}

/** A fetch that writes one entry into `exchanges` for each request, and leaves every byte alone. */
function watchedFetch(exchanges) {
  return async (url, init) => {
    const entry = { method: init.method, path: new URL(url).pathname };
    exchanges.push(entry);
    const response = await fetch(url, watchedRequest(init, entry));
    entry.status = response.status;
    entry.request_id = response.headers.get("x-glassline-request-id");
    if (response.body === null) return response;
    const body = response.body.pipeThrough(
      hashing((digest, size) => Object.assign(entry, { response_sha256: digest, response_size: size })),
    );
    return new Response(body, { status: response.status, headers: response.headers });
  };
}

/** Text bodies are hashed and sent as they are; a form is sent as a stream, so without a length: chunked. */
function watchedRequest(init, entry) {
  if (init.body instanceof FormData) {
    const form = new Response(init.body);
    const headers = new Headers(init.headers);
    headers.set("content-type", form.headers.get("content-type"));
    const body = form.body.pipeThrough(
      hashing((digest, size) => Object.assign(entry, { request_sha256: digest, request_size: size })),
    );
    return { ...init, headers, body, duplex: "half" };
  }
  if (typeof init.body === "string") {
    entry.request_sha256 = createHash("sha256").update(init.body).digest("hex");
    entry.request_size = Buffer.byteLength(init.body);
  }
  return init;
}

async function collectChat(stream) {
  const seen = { text: "", chunks: 0, usage: null, finish_reason: null, model: null };
  for await (const chunk of stream) {
    seen.chunks += 1;
    seen.model ??= chunk.model;
    seen.usage = chunk.usage ?? seen.usage;
    seen.text += chunk.choices[0]?.delta?.content ?? "";
    seen.finish_reason = chunk.choices[0]?.finish_reason ?? seen.finish_reason;
  }
  return seen;
}

const CALLS = {
  async chat(client) {
    const answer = await client.chat.completions.create({ model: MODEL, messages: QUESTION, max_tokens: 40 });
    const [choice] = answer.choices;
    return { text: choice.message.content, usage: answer.usage, finish_reason: choice.finish_reason, model: answer.model };
  },

  async chat_stream(client) {
    return collectChat(
      await client.chat.completions.create({ model: MODEL, messages: QUESTION, max_tokens: 40, stream: true }),
    );
  },

  async chat_stream_usage(client) {
    return collectChat(
      await client.chat.completions.create({
        model: MODEL,
        messages: QUESTION,
        max_tokens: 40,
        stream: true,
        stream_options: { include_usage: true },
      }),
    );
  },

  async tools(client) {
    const answer = await client.chat.completions.create({
      model: MODEL,
      messages: QUESTION,
      tools: TOOLS,
      tool_choice: "required",
    });
    const calls = answer.choices[0].message.tool_calls.map((call) => ({
      name: call.function.name,
      arguments: JSON.parse(call.function.arguments),
    }));
    return { calls, usage: answer.usage, finish_reason: answer.choices[0].finish_reason };
  },

  async three_choices(client) {
    const answer = await client.chat.completions.create({ model: MODEL, messages: QUESTION, n: 3, max_tokens: 20 });
    return { texts: answer.choices.map((choice) => choice.message.content), usage: answer.usage };
  },

  async aborted(client) {
    // Slow enough that the answer is certainly not over when the client leaves.
    const stream = await client.chat.completions.create(
      { model: MODEL, messages: QUESTION, max_tokens: 400, stream: true },
      { headers: { "x-simulate": "pace=50;tokens=400" } },
    );
    let text = "";
    let chunks = 0;
    for await (const chunk of stream) {
      text += chunk.choices[0]?.delta?.content ?? "";
      if (++chunks === 5) break; // leaving the loop makes the SDK abort the request
    }
    return { text, chunks };
  },

  async responses_stream(client) {
    const stream = await client.responses.create({ model: MODEL, input: "Name three rivers.", stream: true });
    const seen = { text: "", events: 0, types: [], usage: null };
    for await (const event of stream) {
      seen.events += 1;
      if (!seen.types.includes(event.type)) seen.types.push(event.type);
      if (event.type === "response.output_text.delta") seen.text += event.delta;
      if (event.type === "response.completed") seen.usage = event.response.usage;
    }
    return seen;
  },

  async embeddings(client) {
    const answer = await client.embeddings.create({ model: "text-embedding-3-small", input: ["one", "two"] });
    return { vectors: answer.data.map((item) => item.embedding.length), usage: answer.usage };
  },

  async upload(client) {
    async function* lines() {
      for (let number = 0; number < 1000; number += 1) yield Buffer.from(`{"line": ${number}}\n`);
    }
    const file = await OpenAI.toFile(lines(), "lines.jsonl");
    const stored = await client.files.create({ file, purpose: "batch" });
    return { id: stored.id, bytes: stored.bytes, filename: stored.filename };
  },

  async models(client) {
    const ids = [];
    for await (const model of client.models.list()) ids.push(model.id);
    return { ids };
  },
};

let failed = false;
for (const name of wanted.length > 0 ? wanted : Object.keys(CALLS)) {
  const exchanges = [];
  const client = new OpenAI({
    baseURL,
    apiKey: process.env.TEST_API_KEY ?? "sk-node-0123456789",
    maxRetries: 0,
    timeout: 20_000,
    fetch: watchedFetch(exchanges),
  });
  let line;
  try {
    line = { call: name, ...(await CALLS[name](client)) };
  } catch (error) {
    failed = true;
    line = { call: name, error: error.constructor.name, status: error.status ?? null, message: error.message };
  }
  console.log(JSON.stringify({ ...line, exchanges }));
}
process.exit(failed ? 1 : 0);
