ALTER TABLE "Order Items" ADD FOREIGN KEY ("Order Id") REFERENCES "Orders" ("Id");
