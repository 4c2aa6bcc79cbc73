import { expect, test } from "vitest";
import { Keyboard, keyOf } from "./keys.ts";

const free = { isTyping: false, singleKeys: true, now: 0 };

function board(...keys: string[]) {
  const keyboard = new Keyboard();
  const ran: string[] = [];
  keyboard.bind(keys.map((each) => ({ keys: each, title: each, group: "", run: () => ran.push(each) })));
  return { keyboard, ran };
}

test("bare keys never act while somebody types, and keys with a modifier do", () => {
  const { keyboard, ran } = board("j", "mod+k");
  expect(keyboard.press("j", true, { ...free, isTyping: true })).toBe(false);
  expect(keyboard.press("mod+k", false, { ...free, isTyping: true })).toBe(true);
  expect(ran).toEqual(["mod+k"]);
});

test("single keys can be switched off; Escape stays", () => {
  const { keyboard, ran } = board("j", "Escape");
  keyboard.press("j", true, { ...free, singleKeys: false });
  keyboard.press("Escape", true, { ...free, singleKeys: false });
  expect(ran).toEqual(["Escape"]);
});

test("one key after the other, and not after a pause", () => {
  const { keyboard, ran } = board("g r", "r");
  keyboard.press("g", true, { ...free, now: 1000 });
  keyboard.press("r", true, { ...free, now: 1500 });
  expect(ran).toEqual(["g r"]);
  keyboard.press("g", true, { ...free, now: 5000 });
  keyboard.press("r", true, { ...free, now: 7000 });
  expect(ran).toEqual(["g r", "r"]);
});

test("the newest binding wins, and the table shows only what acts", () => {
  const { keyboard, ran } = board("j", "k");
  const unbind = keyboard.bind([{ keys: "j, ArrowDown", title: "next", group: "", run: () => ran.push("new") }]);
  keyboard.press("j", true, free);
  expect(ran).toEqual(["new"]);
  expect(keyboard.table().map((command) => command.keys)).toEqual(["k", "j, ArrowDown"]);
  unbind();
  keyboard.press("j", true, free);
  expect(ran).toEqual(["new", "j"]);
});

test("what is inside wins over what is around it, whichever was bound first", () => {
  const keyboard = new Keyboard();
  const ran: string[] = [];
  const one = (name: string) => [{ keys: "Escape", title: name, group: "", run: () => ran.push(name) }];
  keyboard.bind(one("panel"), 20);
  keyboard.bind(one("page"), 10);
  keyboard.press("Escape", true, free);
  expect(ran).toEqual(["panel"]);
});

test("a key with a modifier is written in one way", () => {
  const key = { key: "K", ctrlKey: true, metaKey: false, altKey: false, shiftKey: true };
  expect(keyOf(key)).toEqual({ key: "mod+shift+k", isBare: false });
  expect(keyOf({ ...key, ctrlKey: false })).toEqual({ key: "K", isBare: true });
});
