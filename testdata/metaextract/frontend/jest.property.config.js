import unit from "./jest.config.js";

/** The fast-check properties: pure functions, so no browser is needed. */
export default {
  ...unit,
  testEnvironment: "node",
  testMatch: ["<rootDir>/src/**/*.property.test.ts"],
  testPathIgnorePatterns: ["/node_modules/"],
};
