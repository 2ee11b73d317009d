import { expect } from "@jest/globals";
import { fc, test } from "@fast-check/jest";

import { toGroups, type Metadata } from "./metadata";

const metadata: fc.Arbitrary<Metadata> = fc.dictionary(
  fc.string(),
  fc.dictionary(fc.string(), fc.jsonValue()),
);

test.prop([metadata])("no value is lost", (metadata) => {
  const shown = toGroups(metadata).reduce((sum, group) => sum + group.rows.length, 0);
  const given = Object.values(metadata).reduce((sum, tags) => sum + Object.keys(tags).length, 0);
  expect(shown).toBe(given);
});

test.prop([metadata])("the order of the input does not matter", (metadata) => {
  const reversed = Object.fromEntries(Object.entries(metadata).reverse());
  expect(toGroups(reversed)).toEqual(toGroups(metadata));
});
