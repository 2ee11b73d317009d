const js = require("@eslint/js");
const { defineConfig } = require("eslint/config");
const globals = require("globals");

module.exports = defineConfig([
  js.configs.recommended,
  {
    files: ["**/*.js"],
    languageOptions: { sourceType: "commonjs", globals: globals.node },
    rules: { eqeqeq: "error", "prefer-const": "error" },
  },
  { files: ["tests/**/*.js"], languageOptions: { globals: globals.jest } },
]);
