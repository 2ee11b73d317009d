CREATE TABLE "comments" ("id" bigserial primary key, "body" text, "post_id" bigint NOT NULL, "created_at" timestamp(6) NOT NULL, CONSTRAINT "fk_rails_2fd19c0db7" FOREIGN KEY ("post_id") REFERENCES "posts" ("id"));
CREATE INDEX "index_comments_on_post_id" ON "comments" ("post_id");
ALTER TABLE "posts" ADD "comments_count" integer DEFAULT 0 NOT NULL;
CREATE INDEX "index_posts_on_comments_count" ON "posts" ("comments_count");
