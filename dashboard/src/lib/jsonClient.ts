/** The model of a JSON text, in the page or, when the text is large, in a worker: the same questions to both. */
import { JsonModel, type JsonRow } from "./json.ts";
import { trustedScript } from "./trusted.ts";
import workerUrl from "./jsonWorker.ts?worker&url";

export interface JsonDocument {
  /** Rejects with SyntaxError's message when the text is no JSON. */
  length(): Promise<number>;
  rows(start: number, end: number): Promise<JsonRow[]>;
  toggle(pointer: string): Promise<number>;
  setAll(isOpen: boolean): Promise<number>;
  search(text: string): Promise<{ length: number; indexes: number[]; isCut: boolean }>;
  value(pointer: string): Promise<string>;
  close(): void;
}

/** Parsed in the page up to this; it takes a few milliseconds. */
const SMALL = 256 * 1024;

export type Call = { [Name in keyof JsonDocument]: { id: number; name: Name; args: Parameters<JsonDocument[Name]> } }[keyof JsonDocument];
export type Reply = { id: number; value: unknown } | { id: number; error: string };

export function openJson(text: string): JsonDocument {
  return text.length <= SMALL ? new LocalDocument(text) : new RemoteDocument(text);
}

export class LocalDocument implements JsonDocument {
  #model: JsonModel | null = null;
  readonly #text: string;

  constructor(text: string) {
    this.#text = text;
  }

  #ready(): JsonModel {
    this.#model ??= new JsonModel(this.#text);
    return this.#model;
  }

  async length() {
    return this.#ready().length;
  }

  async rows(start: number, end: number) {
    return this.#ready().rows(start, end);
  }

  async toggle(pointer: string) {
    this.#ready().toggle(pointer);
    return this.#ready().length;
  }

  async setAll(isOpen: boolean) {
    this.#ready().setAll(isOpen);
    return this.#ready().length;
  }

  async search(text: string) {
    const { indexes, isCut } = this.#ready().search(text);
    return { length: this.#ready().length, indexes, isCut };
  }

  async value(pointer: string) {
    return this.#ready().value(pointer);
  }

  close() {
    this.#model = null;
  }
}

class RemoteDocument implements JsonDocument {
  readonly #worker = new Worker(trustedScript(workerUrl) as unknown as string, { type: "module" });
  readonly #waiting = new Map<number, { resolve(value: never): void; reject(error: Error): void }>();
  #next = 1;

  constructor(text: string) {
    this.#worker.postMessage({ text });
    this.#worker.onmessage = ({ data }: MessageEvent<Reply>) => {
      const waiting = this.#waiting.get(data.id);
      this.#waiting.delete(data.id);
      if ("error" in data) waiting?.reject(new SyntaxError(data.error));
      else waiting?.resolve(data.value as never);
    };
    this.#worker.onerror = () => {
      for (const { reject } of this.#waiting.values()) reject(new Error("the worker failed"));
    };
  }

  #ask<T>(name: keyof JsonDocument, ...args: unknown[]): Promise<T> {
    const id = this.#next++;
    return new Promise<T>((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#worker.postMessage({ id, name, args });
    });
  }

  length = () => this.#ask<number>("length");
  rows = (start: number, end: number) => this.#ask<JsonRow[]>("rows", start, end);
  toggle = (pointer: string) => this.#ask<number>("toggle", pointer);
  setAll = (isOpen: boolean) => this.#ask<number>("setAll", isOpen);
  search = (text: string) => this.#ask<{ length: number; indexes: number[]; isCut: boolean }>("search", text);
  value = (pointer: string) => this.#ask<string>("value", pointer);
  close = () => this.#worker.terminate();
}
