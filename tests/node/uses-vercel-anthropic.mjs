// The Vercel AI SDK with its provider @ai-sdk/anthropic.

import { createAnthropic } from "@ai-sdk/anthropic";
import { serve, withVariables } from "./contract.mjs";
import { scenarios } from "./vercel.mjs";

const all = scenarios((call) => createAnthropic({ baseURL: call.base_url, apiKey: call.api_key })(call.model));
const environment = withVariables({ ANTHROPIC_BASE_URL: "base_url", ANTHROPIC_API_KEY: "api_key" }, all.chat);

await serve("@ai-sdk/anthropic", { ...all, environment });
