/** The unit tests, in a browser-like environment. `jest.property.config.js` has the properties. */
export default {
  testEnvironment: "jsdom",
  testTimeout: 30_000,
  testMatch: ["<rootDir>/src/**/*.test.{ts,tsx}"],
  testPathIgnorePatterns: ["/node_modules/", "\\.property\\.test\\.tsx?$"],
  transform: {
    "\\.tsx?$": [
      "@swc/jest",
      {
        jsc: {
          parser: { syntax: "typescript", tsx: true },
          target: "es2022",
          transform: { react: { runtime: "automatic" } },
        },
      },
    ],
  },
};
