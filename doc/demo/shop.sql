-- The shop: a table, a role that may read it, and the watch.
CREATE EXTENSION pg_notifyd;

CREATE TABLE orders (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	name text NOT NULL,
	quantity integer NOT NULL,
	price numeric(8,2) NOT NULL
);

CREATE ROLE guest;
GRANT SELECT ON orders TO guest;

SELECT notify_watch('orders');

-- One thing that happens in the shop: mostly a new order, sometimes one that is changed or done with.
CREATE SCHEMA shop;
CREATE PROCEDURE shop.trade()
LANGUAGE plpgsql AS $$
DECLARE
	menu text[] := '{Cheeseburger,French fries,Chicken wrap,Onion rings,Milkshake,Lemonade}';
	prices numeric[] := '{5.90,2.80,6.50,3.40,3.90,2.20}';
	dish integer := 1 + floor(random() * array_length(menu, 1));
	chance double precision := random();
	chosen bigint;
BEGIN
	SELECT id INTO chosen FROM orders ORDER BY random() LIMIT 1;
	IF chosen IS NULL OR chance < 0.6 THEN
		INSERT INTO orders (name, quantity, price) VALUES (menu[dish], 1 + floor(random() * 4), prices[dish]);
	ELSIF chance < 0.8 THEN
		UPDATE orders SET quantity = quantity + 1 WHERE id = chosen;
	ELSE
		DELETE FROM orders WHERE id = chosen;
	END IF;
END
$$;
