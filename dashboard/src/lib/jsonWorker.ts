/** Parses large JSON away from the page, and answers for its rows. */
import { JsonModel } from "./json.ts";

interface Question {
  text?: string;
  id: number;
  name: "length" | "rows" | "toggle" | "setAll" | "search" | "value";
  args: never[];
}

let text = "";
let model: JsonModel | null = null;

function answer(name: Question["name"], args: unknown[]): unknown {
  model ??= new JsonModel(text);
  text = "";
  if (name === "rows") return model.rows(args[0] as number, args[1] as number);
  if (name === "value") return model.value(args[0] as string);
  if (name === "toggle") model.toggle(args[0] as string);
  if (name === "setAll") model.setAll(args[0] as boolean);
  if (name === "search") {
    const { indexes, isCut } = model.search(args[0] as string);
    return { length: model.length, indexes, isCut };
  }
  return model.length;
}

onmessage = ({ data }: MessageEvent<Question>) => {
  if (data.text !== undefined) {
    text = data.text;
    return;
  }
  try {
    postMessage({ id: data.id, value: answer(data.name, data.args) });
  } catch (error) {
    postMessage({ id: data.id, error: error instanceof Error ? error.message : String(error) });
  }
};
