-- Relation kinds beside heap and btree, and pages that have been written to again, a few MB each.
create table documents as select i as id, array[i % 100, i % 1000, i % 10007] as tags,
  to_tsvector('simple', md5(i::text) || ' ' || md5((i % 500)::text) || ' word' || (i % 50)) as words from generate_series(1, 150000) i;
create index documents_tags_gin on documents using gin (tags);
create index documents_words_gin on documents using gin (words);
select setseed(0.5);
create table places as select i as id, point(random() * 1000, random() * 1000) as at,
  box(point(random() * 1000, random() * 1000), point(random() * 1000, random() * 1000)) as area from generate_series(1, 200000) i;
create index places_at_gist on places using gist (at);
create index places_area_gist on places using gist (area);
create index places_at_spgist on places using spgist (at);
create table measurements as select i as id, i % 7 as kind, repeat('x', i % 40) as note, random() as value, timestamptz '2026-01-01' + (i || ' s')::interval as at,
  i % 3 = 0 as valid, null::int as spare from generate_series(1, 300000) i;
create index measurements_value on measurements (value);
create index measurements_note on measurements (note);
create index measurements_kind on measurements (kind);
create index measurements_kind_hash on measurements using hash (id);
create index measurements_at_brin on measurements using brin (at) with (pages_per_range = 1);
create table attachments as select i as id, (select string_agg(md5((i * j)::text), '') from generate_series(1, 200) j) as body from generate_series(1, 3000) i;
create table churned as select * from measurements;
create index churned_value on churned (value);
update churned set kind = kind + 1 where id % 3 = 0;
delete from churned where id % 5 = 0;
vacuum churned;
insert into churned select id + 600000, kind, note, value, at, valid, spare from measurements where id % 4 = 0;
update churned set value = random() where id % 9 = 0;
vacuum freeze measurements;
checkpoint;
