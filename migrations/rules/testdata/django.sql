BEGIN;
--
-- Add field team to user
--
ALTER TABLE "auth_user" ADD COLUMN "team_id" bigint NULL CONSTRAINT "auth_user_team_id_fk" REFERENCES "team"("id") DEFERRABLE INITIALLY DEFERRED; SET CONSTRAINTS "auth_user_team_id_fk" IMMEDIATE;
CREATE INDEX "auth_user_team_id_idx" ON "auth_user" ("team_id");
COMMIT;
