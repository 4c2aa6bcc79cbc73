import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { bytes, change, clock, count, date, duration, instant, money, moneyNano, percent, points, rate, relative, short } from "./format.ts";

describe("money", () => {
  test.each([
    [0, "$0"], [5518.4, "$5,518"], [100, "$100"], [99.999, "$100"], [99.99, "$99.99"], [12.84, "$12.84"], [1, "$1.00"], [0.99961, "$1.00"],
    [0.999, "$0.999"], [0.5, "$0.500"], [0.0148, "$0.0148"], [0.00901, "$0.00901"], [0.0058, "$0.00580"], [0.00096, "$0.00096"], [0.0000042, "$0.0000042"], [-0.0148, "−$0.0148"],
  ])("%d is %s", (usd, written) => expect(money(usd)).toBe(written));

  test("an unknown price is never zero", () => {
    expect(money(null)).toBe("no price");
    expect(moneyNano(undefined)).toBe("no price");
  });

  test("what is written is within half a percent of what is meant", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 9_000_000_000_000_000 }), (nano) => {
        const usd = nano / 1e9;
        const back = Number(money(usd).replace(/[$,]/g, ""));
        expect(Math.abs(back - usd) / usd).toBeLessThanOrEqual(0.0051);
      }),
    );
  });

  test("more money is never written as less", () => {
    const value = fc.double({ min: 1e-9, max: 1e7, noNaN: true });
    fc.assert(
      fc.property(value, value, (one, other) => {
        const [less, more] = one < other ? [one, other] : [other, one];
        expect(Number(money(less).replace(/[$,]/g, ""))).toBeLessThanOrEqual(Number(money(more).replace(/[$,]/g, "")));
      }),
    );
  });
});

test.each([[0.6, "0.6 ms"], [0.01, "<0.1 ms"], [0.97, "1 ms"], [612, "612 ms"], [999.6, "1.00 s"], [4820, "4.82 s"], [9996, "10.0 s"], [30_000, "30.0 s"], [59_960, "1 min"], [134_000, "2 min 14 s"], [3_599_700, "1 h"], [3_900_000, "1 h 5 min"], [532_800_000, "6 d 4 h"], [0, "0 ms"]])("a duration of %d ms is %s", (ms, written) => expect(duration(ms)).toBe(written));

test.each([[950, "950"], [3412, "3,412"], [9999, "9,999"], [41_234, "41.2K"], [999_999, "1M"], [1_200_000, "1.2M"], [7e9, "7B"]])("%d in little room is %s", (value, written) => expect(short(value)).toBe(written));

test.each([[0, undefined, "0%"], [0.0047, 214, "0.47%"], [0.942, undefined, "94.2%"], [0.81, 214, "81%"], [1, undefined, "100%"], [0.00001, undefined, "<0.01%"], [0.09996, undefined, "10.0%"], [-0.05, undefined, "−5.00%"]])("a share of %d of %s is %s", (share, of, written) => expect(percent(share, of)).toBe(written));

test.each([[640, "640 B"], [999.7, "1.00 KB"], [12_400, "12.4 KB"], [8.1e9, "8.10 GB"], [999_999, "1.00 MB"]])("%d bytes are %s", (size, written) => expect(bytes(size)).toBe(written));

test("missing values are a dash, never a zero", () => {
  for (const write of [count, short, duration, rate, percent, bytes, change]) expect(write(null)).toBe("–");
});

test("rates, points and changes have their units and a true minus", () => {
  expect(rate(68.21)).toBe("68.2 tok/s");
  expect(rate(1234.4)).toBe("1,234 tok/s");
  expect(points(-0.0006)).toBe("−0.06 pts");
  expect(points(0.0000001)).toBe("0 pts");
  expect(change(0.123)).toBe("+12%");
  expect(change(-0.034)).toBe("−3.4%");
});

test("times are written in the zone that is asked for, with the date when it is not today", () => {
  const at = Date.UTC(2026, 10, 20, 23, 27, 34, 812);
  expect(clock(at, "UTC", "ms")).toBe("23:27:34.812");
  expect(clock(at, "Europe/Paris", "min")).toBe("00:27");
  expect(date(at, "Europe/Paris", at)).toBe("21 Nov");
  expect(instant(at, "UTC", "s", at + 3_600_000)).toBe("20 Nov 23:27:34");
  expect(instant(at, "UTC", "s", at)).toBe("23:27:34");
  expect(date(at, "UTC", at + 366 * 86_400_000)).toBe("20 Nov 2026");
});

test("how long ago, in one unit", () => {
  const now = Date.UTC(2026, 10, 20);
  expect(relative(now - 300_000, now)).toBe("5 min ago");
  expect(relative(now - 40_000, now)).toBe("40 s ago");
  expect(relative(now - 30 * 3_600_000, now)).toBe("30 h ago");
  expect(relative(now + 5 * 86_400_000, now)).toBe("in 5 days");
  expect(relative(now - 500, now)).toBe("just now");
});
