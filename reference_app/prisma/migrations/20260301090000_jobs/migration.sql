-- A job is accepted when its row is committed here; Redis only tells the workers of it.
CREATE TABLE "jobs" (
    "id" BIGSERIAL NOT NULL,
    "tenant_id" TEXT NOT NULL DEFAULT 'demo',
    "kind" TEXT NOT NULL,
    "input" JSONB NOT NULL,
    "idempotency_key" TEXT,
    "state" TEXT NOT NULL DEFAULT 'waiting',
    -- How often a worker began it, counted before the work and outside the effect's transaction.
    "attempts" INTEGER NOT NULL DEFAULT 0,
    "worker" TEXT,
    -- When to look after the job if nothing has happened until then. Of an active job it is the end of the worker's lease.
    "due_at" TIMESTAMPTZ(6) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "error" TEXT,
    "created_at" TIMESTAMPTZ(6) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "finished_at" TIMESTAMPTZ(6),

    CONSTRAINT "jobs_pkey" PRIMARY KEY ("id"),
    CONSTRAINT "jobs_state" CHECK ("state" IN ('waiting', 'active', 'completed', 'failed'))
);

CREATE UNIQUE INDEX "jobs_tenant_id_idempotency_key_key" ON "jobs" ("tenant_id", "idempotency_key");
-- Partial, so that what is asked for every few seconds costs as much as there are open jobs, not as there ever were.
CREATE INDEX "jobs_due" ON "jobs" ("due_at") WHERE "state" IN ('waiting', 'active');
CREATE INDEX "jobs_finished_at" ON "jobs" ("finished_at");

-- The one place that makes an effect happen once: its row and the effect are one transaction.
CREATE TABLE "job_results" (
    "job_id" BIGINT NOT NULL,
    "result" JSONB,
    "node" TEXT NOT NULL,
    "process" TEXT NOT NULL,
    "release" TEXT NOT NULL,
    "created_at" TIMESTAMPTZ(6) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "job_results_pkey" PRIMARY KEY ("job_id")
);

ALTER TABLE "job_results" ADD CONSTRAINT "job_results_job_id_fkey"
    FOREIGN KEY ("job_id") REFERENCES "jobs" ("id") ON DELETE CASCADE ON UPDATE CASCADE;

-- What the jobs do. Nothing here forbids two messages of one job: that there is one is for job_results to see to,
-- and for a test to count.
CREATE TABLE "messages" (
    "id" BIGSERIAL NOT NULL,
    "tenant_id" TEXT NOT NULL,
    "contact_id" BIGINT NOT NULL,
    "job_id" BIGINT NOT NULL,
    "body" TEXT NOT NULL,
    "created_at" TIMESTAMPTZ(6) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "messages_pkey" PRIMARY KEY ("id")
);

CREATE INDEX "messages_contact_newest" ON "messages" ("contact_id", "id" DESC);

ALTER TABLE "messages" ADD CONSTRAINT "messages_contact_id_fkey"
    FOREIGN KEY ("contact_id") REFERENCES "contacts" ("id") ON DELETE CASCADE ON UPDATE CASCADE;
