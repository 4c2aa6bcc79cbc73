// The Vercel AI SDK with its provider @ai-sdk/openai.

import { createOpenAI } from "@ai-sdk/openai";
import { serve, withVariables } from "./contract.mjs";
import { scenarios } from "./vercel.mjs";

const all = scenarios((call) => createOpenAI({ baseURL: call.base_url, apiKey: call.api_key }).chat(call.model));
const environment = withVariables({ OPENAI_BASE_URL: "base_url", OPENAI_API_KEY: "api_key" }, all.chat);

await serve("@ai-sdk/openai", { ...all, environment });
