// The Vercel AI SDK with its provider @ai-sdk/google.

import { createGoogleGenerativeAI } from "@ai-sdk/google";
import { serve } from "./contract.mjs";
import { scenarios } from "./vercel.mjs";

const model = (call) => createGoogleGenerativeAI({ baseURL: call.base_url, apiKey: call.api_key })(call.model);

await serve("@ai-sdk/google", scenarios(model));
