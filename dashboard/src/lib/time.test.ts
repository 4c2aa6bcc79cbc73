import fc from "fast-check";
import { expect, test } from "vitest";
import { dayRange, fromField, fromOf, rangeName, readInstant, resolve, toField } from "./time.ts";

const NOW = Date.UTC(2026, 10, 21, 12);

test("relative times move with the clock, absolute ones do not", () => {
  expect(readInstant("now-1h", NOW)).toBe(NOW - 3_600_000);
  expect(readInstant("now", NOW)).toBe(NOW);
  expect(readInstant(String(NOW), 0)).toBe(NOW);
  expect(readInstant("yesterday", NOW)).toBeNull();
  expect(resolve({ from: "nonsense", to: "now" }, NOW)).toEqual({ from: NOW - 86_400_000, to: NOW });
});

test("ranges have names", () => {
  expect(rangeName({ from: "now-24h", to: "now" }, "UTC", NOW)).toBe("Last 24 hours");
  expect(rangeName({ from: "now-3d", to: "now" }, "UTC", NOW)).toBe("Last 3 days");
  expect(rangeName({ from: String(NOW - 3_600_000), to: String(NOW) }, "UTC", NOW)).toBe("21 Nov 11:00 – 12:00");
});

test("a field of a form means the same instant in every zone, except in the hour that a clock repeats", () => {
  const zone = fc.constantFrom("UTC", "Europe/Paris", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe");
  fc.assert(
    fc.property(zone, fc.integer({ min: 1_000_000, max: 3_000_000 }), (name, minutes) => {
      const ms = minutes * 60_000 * 10;
      const back = fromField(toField(ms, name), name);
      expect(back).not.toBeNull();
      expect(toField(back ?? 0, name)).toBe(toField(ms, name));
    }),
  );
});

test("a day begins and ends at midnight of the zone, also where clocks change", () => {
  const hours = ({ from, to }: { from: string; to: string }) => (Number(to) - Number(from)) / 3_600_000;
  const noon = Date.UTC(2026, 9, 26, 12);
  expect(dayRange(1, noon, "UTC")).toEqual({ from: String(Date.UTC(2026, 9, 25)), to: String(Date.UTC(2026, 9, 26)) });
  expect(hours(dayRange(1, noon, "Europe/Berlin"))).toBe(25);
  expect(dayRange(0, noon, "UTC")).toEqual({ from: String(Date.UTC(2026, 9, 26)), to: "now" });
});

test("a link to a list of what is old says from when on", () => {
  expect(fromOf(NOW - 3_600_000, NOW)).toBe("");
  expect(fromOf(NOW - 86_400_000, NOW)).toBe(String(NOW - 86_400_000));
  expect(fromOf(NOW - 9 * 86_400_000, NOW)).toBe(String(NOW - 9 * 86_400_000));
});
