// What the Vercel AI SDK does, whichever provider it is given.

import { generateText, jsonSchema, stepCountIs, streamText, tool } from "ai";
import { QUESTION, TOOL, TOOL_DESCRIPTION, TOOL_SCHEMA, leave } from "./contract.mjs";

/** What is the same on both ways: no headers, no dates. */
function tidy({ text, finishReason, usage, toolCalls, toolResults }) {
  return { text, finishReason, usage, toolCalls, toolResults };
}

/** Scenarios of a provider: `model` makes a model of its from a call. */
export function scenarios(model) {
  const chat = async (call) =>
    tidy(await generateText({ model: model(call), prompt: QUESTION, maxOutputTokens: 40 }));

  const stream = async (call) => {
    let failure;
    const answer = streamText({
      model: model(call),
      prompt: QUESTION,
      onError: ({ error }) => {
        failure = error;
      },
    });
    const pieces = [];
    for await (const piece of answer.textStream) pieces.push(piece);
    if (failure !== undefined) throw failure;
    return { pieces, finishReason: await answer.finishReason, usage: await answer.usage };
  };

  /** The SDK makes the call, runs the tool and asks again by itself. */
  const tools = async (call) => {
    const weather = tool({
      description: TOOL_DESCRIPTION,
      inputSchema: jsonSchema(TOOL_SCHEMA),
      execute: async (input) => ({ asked: input }),
    });
    const answer = await generateText({
      model: model(call),
      prompt: QUESTION,
      tools: { [TOOL]: weather },
      stopWhen: stepCountIs(2),
    });
    return answer.steps.map(tidy);
  };

  const abort = async (call) => {
    const leaving = new AbortController();
    const answer = streamText({ model: model(call), prompt: QUESTION, abortSignal: leaving.signal, onError() {} });
    const count = await leave(answer.textStream);
    leaving.abort();
    return count;
  };

  return { chat, stream, tools, error_400: chat, error_429: chat, abort };
}
